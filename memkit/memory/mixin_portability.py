"""The verbs that carry a memory elsewhere, or to another embedder; a `memkit.Memory` has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memkit.memory import transfer
from memkit.memory.engine import Engine
from memkit.protocols import Embedder
from memkit.types import Scope, TransferReport

if TYPE_CHECKING:
    from memkit.ledger.transfer.import_ import OnConflict


class PortabilityVerbs:
    """The part of `memkit.Memory` that writes it to a file, reads it back, and embeds it anew."""

    _engine: Engine

    def export(
        self, path: str | Path, *, scope: Scope | None = None, adapters: bool = False
    ) -> TransferReport:
        """Write everything that is known to one file: JSON lines under zstd, with a checksum.

        Records with all their versions, turns, items and times to live, as they are at one
        moment, whatever others write meanwhile. What has expired is left out, and so is what
        `import_` makes again: vectors and indexes. `forget` does not reach the file.

        Args:
            path: The file; it is replaced as a whole, or stays as it was.
            scope: Only what is of this scope or of narrower ones; None for all.
            adapters: Also write each module as a folder for PEFT, below a folder with the
                file's name and ".adapters", which must not exist.

        Raises:
            InvalidInputError: If an entry is too large, or the folder is there already.
            StorageError: If it cannot be written.
            UnsupportedOperationError: If adapters are asked for without the "lora" backend.
        """
        return transfer.export(self._engine, Path(path), scope=scope, adapters=adapters)

    def import_(
        self,
        path: str | Path,
        *,
        scope: Scope | None = None,
        on_conflict: OnConflict = "error",
        adapters: bool = False,
    ) -> TransferReport:
        """Take in what `export` has written, with the ids, versions and times that it had.

        The whole file is checked before anything is written, and then written in one
        transaction. After that its records are embedded; if that is interrupted, the next
        opening goes on with it. Nothing in the file is executed.

        What is here already, the same in every part, is left as it is. What has expired since
        the export is left out.

        Args:
            path: The file.
            scope: Only what is of this scope or of narrower ones; None for all.
            on_conflict: Where the memory has something else under the same id, key or content:
                "error" refuses the whole file, "skip" keeps what is here, "replace" takes what
                comes, older versions included; modules that were trained on what is replaced
                are trained again by `consolidate`.
            adapters: Also take in the modules that were exported beside the file; as with
                `import_adapter`, they hold what they are seen to recall.

        Raises:
            CorruptFileError: If the file is damaged, cut off, or no export; the memory is as it
                was.
            FormatVersionError: If a newer memkit wrote it.
            InvalidInputError: If something is in conflict.
            IncompatibleModelError: If the adapters are for another base model.
            UnsupportedOperationError: If adapters are asked for without the "lora" backend.
        """
        return transfer.import_(
            self._engine, Path(path), scope=scope, on_conflict=on_conflict, adapters=adapters
        )

    def reembed(self, embedder: str | Path | Embedder) -> int:
        """Change the embedder while the memory is in use; what is known stays.

        Searches go on with the old vectors until all new ones are there, those of records that
        are added meanwhile included; then one transaction puts the new ones in their place, and
        this memory goes on with them. If it is interrupted, the next call with the same
        embedder does what is left. Another process learns of the change from its next call,
        which raises `IncompatibleModelError`; it opens the memory anew with the new embedder.

        Args:
            embedder: Folder, hub id or any `memkit.protocols.Embedder`.

        Returns:
            How many passages were embedded by this call.

        Raises:
            InvalidInputError: If the embedder returns something else than unit rows.
            UnsupportedOperationError: Without the "rag" and "lora" backends.
            BusyError: If another process or thread is at it.
        """
        return transfer.reembed(self._engine, embedder)
