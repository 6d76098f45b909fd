"""A conversation in the terminal, which the memory remembers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from memkit.cli.answer_commands import print_sources, streamed
from memkit.cli.output import fitted, print_note, print_text, working
from memkit.errors import InvalidInputError
from memkit.text.question_form import states_something
from memkit.types import Answer, Scope

if TYPE_CHECKING:
    from memkit import Memory

HELP = """/sources  what the last answer rests on
/turns    what was said last
/help     this
/quit     or Ctrl-D"""
PROMPT = "you> "
SHOWN = 6  # turns of earlier conversations that are shown at the beginning


class Conversation:
    """Takes lines, answers them, and notes both as turns of a scope.

    Args:
        memory: Open.
        scope: Whose conversation it is.
        budget: Most tokens of evidence in a prompt.
        options: Of `memkit.Memory.ask`.
        as_json: Print each answer as a line of JSON.
    """

    def __init__(
        self, memory: Memory, scope: Scope, budget: int, options: dict[str, Any], *, as_json: bool
    ) -> None:
        self._memory = memory
        self._scope = scope
        self._budget = budget
        self._options = {**options, "scope": scope}
        self._as_json = as_json
        self._answer: Answer | None = None

    def run(self) -> None:
        """Converse until the input ends."""
        interactive = sys.stdin.isatty() and not self._as_json
        if interactive:
            self._greet()
            with working("loading the embedder"):  # a Ctrl-C later must find it whole, to note
                _ = self._memory.vectors.embedder
        for line in _typed() if interactive else _piped():
            if line == "/quit":
                break
            if interactive and line.startswith("/"):
                self._command(line)
            elif interactive:
                try:
                    self._reply(line)
                except KeyboardInterrupt:  # stops an answer, not the conversation
                    print_note("\nstopped; /turns shows what is noted, Ctrl-D ends the chat")
                except InvalidInputError as error:  # of this line; the next may be better
                    print_note(f"memkit: {error.message}")
            else:
                self._reply(line)

    def _greet(self) -> None:
        turns = self._memory.turns(scope=self._scope, limit=SHOWN)
        for turn in turns:
            print_note(fitted(str(turn)))
        known = "what was said before is above" if turns else "nothing was said before"
        print_note(f"{known}; /help lists commands, Ctrl-D ends the chat")

    def _command(self, line: str) -> None:
        if line == "/sources" and self._answer is not None:
            print_sources(self._memory, self._answer)
        elif line == "/sources":
            print_note("there is no answer yet")
        elif line == "/turns":
            for turn in self._memory.turns(scope=self._scope):
                print_note(fitted(str(turn)))
        else:
            print_note(HELP)

    def _reply(self, line: str) -> None:
        """Note a line, answer it, and note the answer: whatever happens, the line is not lost."""
        # As a record, a question would be found instead of its answer.
        self._memory.add_turn("user", line, scope=self._scope, remember=states_something(line))
        answer = self._answer_to(line)
        self._answer = answer
        if answer.text.strip():
            self._memory.add_turn("assistant", answer.text, scope=self._scope, remember=False)

    def _answer_to(self, line: str) -> Answer:
        """Answer a line, and print the answer."""
        if self._as_json:
            answer = self._memory.ask(line, self._budget, **self._options)
            sys.stdout.write(answer.to_json() + "\n")
            sys.stdout.flush()
        else:
            answer = streamed(self._memory, line, self._budget, self._options)
        if answer.withheld is not None and not self._as_json:
            print_note(f"withheld: {answer.withheld}")
        return answer


def _typed() -> Iterator[str]:
    """Lines of a terminal, with the editing and the history of readline where there is one."""
    with suppress(ImportError):
        import readline  # noqa: F401 - `input` uses it
    while True:
        try:
            line = input(PROMPT).strip()
        except EOFError:
            print_text("")
            return
        if line:
            yield line


def _piped() -> Iterator[str]:
    for line in sys.stdin:
        if line.strip():
            yield line.strip()
