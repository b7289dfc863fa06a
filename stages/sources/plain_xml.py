"""XML as data: elements and text. What a document type could declare, entities among it, is refused."""

from __future__ import annotations

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

MAX_BYTES = 2**22


def parse_xml(data: bytes) -> Element:
    """The root element. Raises ValueError: too large, not well-formed, or with a document type."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes of XML, got {len(data)}")
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"not well-formed XML: {error}") from None
    return builder.close()


def _refuse_document_type(*declared: object) -> NoReturn:
    raise ValueError("expected XML without a document type, got one")
