"""What the inspector reads from a memory: without models, and nothing beyond the scope."""

import base64
import json
import re
import shutil
import stat
import subprocess
import sys
import zlib
from contextlib import closing

import numpy as np
import pytest

from memkit.cli.inspector.fact_map import GRID, fact_map, principal_plane
from memkit.cli.inspector.html_page import html_page
from memkit.cli.inspector.module_rows import estimated_tokens
from memkit.cli.inspector.record_columns import LONGEST
from memkit.cli.inspector.snapshot import Limits, overview, snapshot
from memkit.cli.main import main
from memkit.errors import InvalidInputError, NotAMemoryError
from memkit.ledger import Ledger
from memkit.routing.stored_questions import StoredVectors

ANN = {"user": "ann"}


def data_in(page):
    """What a page carries, unpacked without the inspector's help."""
    packed = re.search(r'<script type="text/plain" id="data">([^<]*)</script>', page)[1]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


@pytest.fixture
def inspected(trained, tmp_path):
    """A trained memory with a few things more, closed; its directory."""
    trained.add("Ann's locker has the code 8812.", scope=ANN, id="locker")
    trained.add("The canteen opens at noon.", id="canteen", metadata={"source": "mail"})
    trained.update("canteen", "The canteen opens at one.")
    trained.add("Dull.", id="dull")
    trained.forget("dull")
    trained.explain("Where is the canteen?")  # measures the router anew, after these changes
    trained.close()
    return tmp_path / "trained.mem"


class TestSnapshot:
    def test_it_says_what_the_memory_says(self, inspected, open_memory):
        seen = snapshot(inspected)
        with open_memory(inspected) as memory:
            stats, modules = memory.stats(), memory.modules.list()
            held = {id: module.name for module in modules for id in module.records}
            records = {record.id: record for record in memory.records(scope="all").records}

        totals = seen["totals"]
        assert totals["records"] == stats.records == len(records) == 10
        assert (totals["versions"], totals["modules"]) == (stats.versions, stats.modules)
        assert totals["held"] == stats.held
        columns = seen["records"]
        names = [module["name"] for module in seen["modules"]]
        for place, id in enumerate(columns["id"]):
            record = records[id]
            holder = columns["module"][place]
            assert columns["text"][place] == record.text
            assert columns["question"][place] == record.question
            assert columns["version"][place] == record.version
            assert columns["created"][place] == int(record.created_at.timestamp())
            assert seen["scopes"][columns["scope"][place]]["labels"] == record.scope
            assert (names[holder] if holder >= 0 else None) == held.get(id)
        canteen = columns["id"].index("canteen")
        assert json.loads(columns["meta"][canteen]) == {"source": "mail"}
        assert seen["versions"][str(canteen)][0][:2] == [1, "The canteen opens at noon."]
        assert [kind for _, kind, _ in seen["events"]] == ["forget"]

    def test_modules_have_rank_recall_size_and_room(self, inspected, open_memory):
        rows = snapshot(inspected)["modules"]
        with open_memory(inspected) as memory:
            modules = memory.modules.list()
            answers = {r.id: r.answer for r in memory.records().records}

        assert [row["name"] for row in rows] == [module.name for module in modules]
        for row, module in zip(rows, modules, strict=True):
            assert row["rank"] == 16
            assert row["recall"] == module.manifest["recall"]
            assert row["held"] == len(module.records)
            assert row["size"] > 0
            # Four digits and the token that ends an answer.
            assert row["tokens"] == sum(len(answers[id]) + 1 for id in module.records)
            assert not row["measured"]  # nobody has measured the tiny model
            assert [version for version, *_ in row["versions"]] == list(module.versions)

    def test_what_a_module_has_in_an_older_version_is_told(self, inspected, open_memory):
        with open_memory(inspected) as memory:
            memory.update("Nora", "The badge number of Nora is 7003.", answer="7003")

        columns = snapshot(inspected)["records"]

        nora, emil, canteen = map(columns["id"].index, ("Nora", "Emil", "canteen"))
        assert [columns["module"][place] for place in (nora, emil, canteen)] == [-1, 0, -1]
        assert [columns["tried"][place] for place in (nora, emil, canteen)] == [0, -1, -1]
        assert [columns["outdated"][place] for place in (nora, emil, canteen)] == [1, 0, 0]

    def test_routes_are_those_of_the_memory(self, inspected, open_memory):
        seen = snapshot(inspected)
        with open_memory(inspected) as memory:
            asked = [row["question"] for row in seen["routes"]["rows"]]
            explained = {question: memory.explain(question) for question in asked}

        assert seen["routes"]["questions"] == len(explained) == 8
        for row in seen["routes"]["rows"]:
            route = explained[row["question"]].recall.route
            weights = {seen["modules"][m]["name"]: weight for m, weight in row["modules"]}
            assert weights == pytest.approx(dict(route.weights))
            assert row["evidence"] == pytest.approx(route.evidence)
            assert row["threshold"] == pytest.approx(route.threshold)
            assert row["reason"] == route.reason
            ids = [seen["records"]["id"][place] for place, *_ in row["support"]]
            assert ids == [fact.record_id for fact in route.support[: len(ids)]]

    def test_a_changed_memory_is_not_measured_anew(self, inspected, open_memory):
        with open_memory(inspected, backends=("rag",)) as memory:
            memory.add([f"Shelf {number} holds box {number}." for number in range(40)])
        with closing(Ledger.open(inspected, create=False)) as ledger:
            before = ledger.get_meta("router_calibration")

        seen = snapshot(inspected)

        assert seen["calibration"]["changes"] >= 40
        assert seen["calibration"]["stale"]
        assert seen["routes"]["rows"]
        with closing(Ledger.open(inspected, create=False)) as ledger:
            assert ledger.get_meta("router_calibration") == before

    def test_only_the_latest_records_where_there_are_too_many(self, inspected):
        whole = snapshot(inspected)["records"]["id"]

        seen = snapshot(inspected, limits=Limits(records=3, routes=0))

        assert seen["records"]["id"] == whole[-3:]
        assert seen["left_out"] == len(whole) - 3
        assert seen["routes"]["rows"] == []
        assert {len(column) for column in seen["records"].values()} == {3}

    def test_a_long_text_is_cut_and_the_page_says_so(self, memory, tmp_path):
        memory.add("x" * (LONGEST + 1), id="long")
        memory.close()

        seen = snapshot(tmp_path / "agent.mem")

        assert len(seen["records"]["text"][0]) == LONGEST
        assert seen["cut"] == {"0": LONGEST + 1}

    def test_an_empty_memory(self, memory, tmp_path):
        memory.close()

        seen = snapshot(tmp_path / "agent.mem")

        assert seen["records"]["id"] == seen["modules"] == seen["routes"]["rows"] == []
        assert seen["map"]["dim"] == 0

    @pytest.mark.parametrize(("records", "routes"), [(0, 1), (1, -1), (True, 1), (1.5, 1)])
    def test_senseless_limits_are_refused(self, records, routes):
        with pytest.raises(InvalidInputError, match="must be"):
            Limits(records, routes)

    def test_where_there_is_no_memory(self, tmp_path):
        with pytest.raises(NotAMemoryError, match="there is no memory"):
            snapshot(tmp_path / "none")


class TestScope:
    def test_nothing_of_other_scopes_is_in_the_page(self, inspected):
        page = html_page(snapshot(inspected, ANN))
        seen = data_in(page)

        assert seen["records"]["id"] == ["locker"]
        assert seen["scope"] == ANN
        assert seen["events"] is None
        assert seen["disk"] is None
        carried = json.dumps(seen)
        assert "canteen" not in carried
        assert "badge" not in carried
        assert "m0001" not in carried

    def test_a_route_names_no_fact_of_another_scope(self, inspected, open_memory):
        with open_memory(inspected) as memory:
            memory.add(
                "The badge number of Nora is 1.",
                question="What is the badge number of Nora Ann?",
                answer="1",
                scope=ANN,
                id="hers",
            )

        seen = snapshot(inspected, ANN)

        (row,) = seen["routes"]["rows"]
        assert [seen["records"]["id"][place] for place, *_ in row["support"]] == ["hers"]
        assert row["elsewhere"] > 0
        assert all(module == -1 for module, _ in row["modules"])

    def test_all_scopes_are_shown_unless_one_is_asked_for(self, inspected):
        labels = [scope["labels"] for scope in overview(inspected)["scopes"]]

        assert labels == [{"user": "ann"}, {}]


class TestMap:
    def test_the_plane_is_that_of_the_two_largest_singular_values(self):
        rows = np.random.default_rng(0).normal(size=(60, 9)).astype(np.float32)
        rows *= np.arange(1, 10)

        flat, explained = principal_plane(rows)

        centred = rows - rows.mean(axis=0)
        left, values, _ = np.linalg.svd(centred, full_matrices=False)
        assert np.allclose(np.abs(flat), np.abs(left[:, :2] * values[:2]), atol=1e-3)
        assert explained == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), rel=1e-4)

    def test_the_same_vectors_always_give_the_same_map(self):
        rows = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)

        assert (principal_plane(rows)[0] == principal_plane(rows.copy())[0]).all()

    @pytest.mark.parametrize("shape", [(1, 5), (3, 1), (2, 2)])
    def test_few_vectors_have_a_map_as_well(self, shape):
        flat, explained = principal_plane(np.ones(shape, np.float32))

        assert flat.shape == (shape[0], 2)
        assert np.isfinite(flat).all()
        assert explained == 0.0

    def test_every_record_with_a_vector_is_on_it(self, inspected):
        with closing(Ledger.open(inspected, create=False)) as ledger:
            ids = ledger.records.ids()
            places = fact_map(ledger, [*ids, "unknown"])

        assert places.x[-1] is places.y[-1] is None
        on_it = [*places.x[:-1], *places.y[:-1]]
        assert all(0 <= value <= GRID for value in on_it)
        assert {0, GRID} <= set(on_it)  # the longer side is used whole
        assert places.dim == 64


class TestStoredVectors:
    def test_they_are_the_embedders_own(self, inspected):
        from memkit.testing import HashingEmbedder

        text = "What is the badge number of Nora?"
        with closing(Ledger.open(inspected, create=False)) as ledger:
            stored = StoredVectors(ledger)
            assert (stored.name, stored.dim) == ("hashing-64", 64)
            (row,) = stored.encode_query([text])

        assert np.allclose(row, HashingEmbedder().encode_query([text])[0])

    def test_what_was_never_embedded_is_refused(self, inspected):
        with (
            closing(Ledger.open(inspected, create=False)) as ledger,
            pytest.raises(InvalidInputError, match="whose vectors are stored"),
        ):
            StoredVectors(ledger).encode_query(["Never asked."])


@pytest.mark.parametrize(
    ("answer", "tokens"), [("7954", 5), ("", 1), ("noon", 2), ("room 12", 5), ("ü", 2)]
)
def test_tokens_are_estimated(answer, tokens):
    assert estimated_tokens(answer) == tokens


class TestCommand:
    def test_a_page_is_written_for_its_owner_alone(self, inspected, tmp_path, capsys):
        file = tmp_path / "page.html"

        assert main(["inspect", str(inspected), "--html", str(file)]) == 0

        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert data_in(file.read_text(encoding="utf-8"))["totals"]["records"] == 10
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "page.html" in printed.err

    def test_the_summary_can_be_read(self, inspected, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")

        assert main(["inspect", str(inspected)]) == 0

        printed = capsys.readouterr().out
        assert re.search(r"held in weights\s+8\s+80% of the records", printed)
        assert re.search(r"m0001 v1\s+shared\s+4/4\s+1\.00", printed)
        assert re.search(r"user=ann\s+1\s+0", printed)
        assert re.search(r"forget\s+records 1", printed)
        assert max(map(len, printed.splitlines())) <= 80

    def test_json_is_the_summary(self, inspected, capsys):
        assert main(["inspect", str(inspected), "--json", "--scope", "user=ann"]) == 0

        seen = json.loads(capsys.readouterr().out)
        assert seen["totals"]["records"] == 1
        assert seen["scope"] == ANN

    def test_a_page_inside_of_the_memory_is_refused(self, inspected, capsys):
        assert main(["inspect", str(inspected), "--html", str(inspected / "page.html")]) == 1

        assert "outside of the memory" in capsys.readouterr().err
        assert not (inspected / "page.html").exists()

    @pytest.mark.slow
    def test_neither_model_is_loaded(self, inspected, tmp_path):
        program = (
            "import sys; from memkit.cli.main import main; "
            f"status = main(['inspect', {str(inspected)!r}, '--html', {str(tmp_path / 'p')!r}]); "
            "loaded = {'torch', 'transformers', 'sentence_transformers'} & sys.modules.keys(); "
            "sys.exit(status or bool(loaded))"
        )
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    def test_a_memory_that_cannot_be_written_to_is_shown(self, inspected, tmp_path):
        copy = tmp_path / "copy.mem"
        shutil.copytree(inspected, copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o500 if path.is_dir() else 0o400)
        try:
            assert snapshot(copy)["totals"]["records"] == 10
        finally:
            for path in [copy, *copy.rglob("*")]:
                path.chmod(0o700 if path.is_dir() else 0o600)
