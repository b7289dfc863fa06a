"""What an object and a category are, in the field `json` of a sample and in the index of its tar: the one definition
that `shard` holds annotations to before it writes them, and that whatever reads them holds tars to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, FiniteFloat, Tag

Id = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Coordinate = Annotated[float, Field(strict=True, ge=-1e7, le=1e7, allow_inf_nan=False)]
Extent = Annotated[float, Field(strict=True, ge=0, le=1e7, allow_inf_nan=False)]


class ObjectField(BaseModel):
    """`bbox` is x, y, width, height in pixels of the stored image, beyond which it may reach. A crowd is a group in one
    box. What else an object has is passed over."""

    category: Id
    bbox: tuple[Coordinate, Coordinate, Extent, Extent]
    iscrowd: Literal[0, 1] = 0


class CategoryField(BaseModel):
    """Two categories may have the same name: they differ by their ids."""

    id: Id
    name: str


class RunLengthCode(BaseModel):
    """COCO's code of a mask: lengths of runs of 0 and 1 in turn, column by column, as numbers or in COCO's letters;
    `size` is height, width."""

    model_config = ConfigDict(strict=True)

    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]
    counts: Annotated[
        Annotated[list[Annotated[int, Field(ge=0)]], Tag("runs")] | Annotated[str, Tag("letters")],
        Discriminator(lambda value: "letters" if isinstance(value, str) else "runs"),
    ]

    def check(self, width: int, height: int) -> None:
        """Raises ValueError unless it codes a mask of an image of this size."""
        if self.size != [height, width]:
            raise ValueError(f"size: expected [{height}, {width}], height and width of the image, got {self.size}")
        lengths = run_lengths(self.counts)
        if min(lengths, default=0) < 0 or sum(lengths) != width * height:
            raise ValueError(f"counts: expected runs of {width * height} pixels in all, got {sum(lengths)}")


def _segment_kind(value: Any) -> str | None:
    return "polygons" if isinstance(value, list) else "code" if isinstance(value, dict | RunLengthCode) else None


Polygon = list[FiniteFloat]
Segmentation = Annotated[
    Annotated[list[Polygon], Tag("polygons")] | Annotated[RunLengthCode, Tag("code")],
    Discriminator(
        _segment_kind,
        custom_error_type="segmentation",
        custom_error_message="Input should be polygons or a run-length code",
    ),
]


class WrittenObject(ObjectField):
    """What `shard` writes: stricter than what is read, never looser."""

    area: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    segmentation: Segmentation | None = None

    def check_segmentation(self, width: int, height: int) -> None:
        """Raises ValueError unless the segmentation is one of an image of this size."""
        if isinstance(self.segmentation, RunLengthCode):
            self.segmentation.check(width, height)
        for number, polygon in enumerate(self.segmentation if isinstance(self.segmentation, list) else []):
            if len(polygon) % 2:
                raise ValueError(f"polygons.{number}: expected pairs of x and y, got {len(polygon)} numbers")


def run_lengths(counts: list[int] | str) -> list[int]:
    """Of a run-length code, from numbers or letters. Raises ValueError as `_lengths`."""
    return _lengths(counts) if isinstance(counts, str) else counts


def _lengths(letters: str) -> list[int]:
    """COCO's letters → lengths of runs. Each number is 5 bits a letter, low ones first, a sixth bit saying that more
    follow; from the third on it is the difference to the one before the last. Raises ValueError for other letters."""
    lengths: list[int] = []
    value = shift = 0
    for letter in letters:
        bits = ord(letter) - ord("0")
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"counts: expected characters from '0' to 'o' in a run-length code, got {letter!a}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) and 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("counts: expected a whole run-length code, got one that is cut short")
    return lengths
