"""The tars themselves: written one after the other, while threads prepare the samples that come next. Decoding is most
of the work and frees Python's lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from stages.compute.prefetch import prefetch
from stages.images.decoding import UnusableImage
from stages.images.orientation import UPRIGHT
from stages.sharding.mask_colours import TarColours
from stages.sharding.plan import PlannedShard
from stages.sharding.receipts import NO_MEMORY, LeftOutImage, Receipt
from stages.sources.sample_fields import PackedSample
from stages.sources.source import Item
from storage.locations import Location
from storage.shard_files import write_shard


def make_tars(
    out: Location, shards: Sequence[PlannedShard], pack: Callable[[Item], PackedSample], threads: int
) -> Iterator[tuple[PlannedShard, Receipt]]:
    """Each tar once it is written. `pack` makes a sample of an image, in several threads, or raises `UnusableImage`."""

    def prepare(image: tuple[str, Item]) -> PackedSample | str:
        """A sample, or why there is none."""
        try:
            return pack(image[1])
        except UnusableImage as error:
            return str(error)
        except MemoryError:
            return NO_MEMORY

    images = (image for shard in shards for image in shard.images)
    with closing(prefetch(prepare, images, threads=threads, ahead=2 * threads)) as prepared:
        for shard in shards:
            left_out: list[LeftOutImage] = []
            turned, colours = Counter[str](), TarColours()
            entry = write_shard(out, shard.name, _usable(shard.images, prepared, left_out, turned, colours))
            orientation = dict(sorted(turned.items()))
            yield shard, Receipt(entry, tuple(left_out), shard.skipped_objects, orientation, colours.found())


def _usable(
    images: list[tuple[str, Item]],
    prepared: Iterator[PackedSample | str],
    left_out: list[LeftOutImage],
    turned: Counter[str],
    colours: TarColours,
) -> Iterator[tuple[str, dict[str, bytes]]]:
    # `images` first: what `prepared` yields after them belongs to the next tar
    for (key, item), sample in zip(images, prepared, strict=False):
        if isinstance(sample, str):
            left_out.append(LeftOutImage(item.path, reason=sample))
        else:
            if sample.orientation != UPRIGHT:
                turned[str(sample.orientation)] += 1
            colours.add(item.path, sample.colours)
            yield key, sample.fields
