"""Rows of adapters between memory and disk."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, suppress

import torch
from torch import Tensor

from memkit.errors import CorruptFileError, IncompatibleModelError
from memkit.ledger import Ledger, ModuleFile
from memkit.ledger.stored_paths import StoredPath
from memkit.lora.serving.layout import Frame, Layout, Row
from memkit.lora.store.adapter_store import stored
from memkit.lora.store.row_file import Octets, RowFile
from memkit.lora.store.server_rows import copied, destroy_copy

ROW_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def written_row(ledger: Ledger, row: Row) -> AbstractContextManager[ModuleFile]:
    """Store a row, for the block to commit; see `.adapter_store.stored`."""
    frame, rank = row.layout.frame, row.layout.rank
    dtype = str(row.layout.dtype).removeprefix("torch.")
    about = {"rank": rank, "dtype": dtype, "layout": frame.digest}
    kind = f"{frame.digest[:16]}-r{rank}-{dtype}"
    return stored(ledger, kind, about, _octets(row.data))


def read_row(ledger: Ledger, file: ModuleFile, frame: Frame, scale: float, *, verify: bool) -> Row:
    """Read a row; ``verify`` compares the checksum.

    A copy of what is on a server is made again if it is damaged.

    Raises:
        CorruptFileError: If the weights are missing, cut off or changed.
        IncompatibleModelError: If the row was written for other layers.
    """
    path = StoredPath.parse(file.path)
    if not ledger.shared:
        rows = RowFile.open(path.within(ledger.directory))
        return _row_from(rows, path.row or 0, file, frame, scale, verify=verify)
    with suppress(CorruptFileError):
        return _row_from(copied(ledger, file), 0, file, frame, scale, verify=verify)
    destroy_copy(ledger, file)
    return _row_from(copied(ledger, file), 0, file, frame, scale, verify=True)


def _row_from(
    rows: RowFile, number: int, file: ModuleFile, frame: Frame, scale: float, *, verify: bool
) -> Row:
    about, name = rows.about, rows.path.name
    rank, dtype, digest = about.get("rank"), about.get("dtype"), about.get("layout")
    if (
        type(rank) is not int
        or rank < 1
        or dtype not in list(ROW_DTYPES)
        or type(digest) is not str
    ):
        raise CorruptFileError(
            f"expected rank, dtype and layout of adapters in the header of {name}, it has "
            "none that can be"
        )
    if frame.digest != digest:
        raise IncompatibleModelError(
            f"expected layers of digest {frame.digest[:16]} in {name}, it has {digest[:16]}"
        )
    layout = Layout(frame, rank, ROW_DTYPES[dtype])
    if layout.size * layout.dtype.itemsize != rows.row_bytes:
        raise CorruptFileError(
            f"expected {layout.size * layout.dtype.itemsize} bytes in a row of rank {rank} in "
            f"{name}, its header says {rows.row_bytes}"
        )
    # A copy: who forgets the adapter in another process wipes the row in the file.
    data = torch.empty(layout.size, dtype=layout.dtype)
    data.view(torch.uint8).copy_(torch.from_numpy(rows.read(number)))
    if verify and (digest := hashlib.sha256(_octets(data).data).hexdigest()) != file.digest:
        raise CorruptFileError(
            f"expected SHA-256 {file.digest[:12]}… for {file.path}, it has {digest[:12]}…"
        )
    return Row(layout, data, scale)


def _octets(data: Tensor) -> Octets:
    octets: Octets = data.view(torch.uint8).numpy()
    return octets
