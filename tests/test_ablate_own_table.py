"""An ablation of one's own, as docs/own-ablation.md shows it: it runs, shares runs, follows changed files, refuses."""

import csv
import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from lab.ablation.command import Wanted
from lab.ablation.own_table import table_of
from lab.ablations import ablation
from lab.cli import main
from lab.commands.ablate import Options
from lab.options import read_options
from lab.runs import Home
from lab.verdicts import decided

PAGE = Path(__file__).parents[1] / "docs" / "own-ablation.md"
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, whose modules are forgotten afterwards, and a home of its own."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    yield tmp_path
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def test_the_pages_example_runs_and_its_claim_is_decided(here, capsys):
    (here / "long_captions.py").write_text(EXAMPLE)
    words = ["ablate", "long_captions.py", "--scale", "smoke", "--seeds", "2", "--jobs", "2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("Is the number of words as good a filter as ITM?\n")
    assert "2 seeds: Filtering by ITM is better than by length." in said
    result = json.loads((here / "long_captions-smoke.json").read_text())["result"]
    assert list(result["arms"]) == ["none", "ITM", "words"] and result["seeds"] == [0, 1]
    (claim,) = result["claims"]
    assert claim["claim"] == "itm-over-words" and len(claim["values"]) == 2
    kept = {arm: own["seeds"]["0"]["capfilt"]["kept"] for arm, own in result["arms"].items() if arm != "none"}
    assert kept["ITM"] and len({one["vocabulary"] for own in result["budgets"].values() for one in own.values()}) == 1
    rows = Home(here / "home").rows()
    (scored,) = (row for row in rows if row["kind"] == "scores" and row["parents"] == _of_seed(rows, 0))
    assert scored["config"]["filter"].startswith("long_captions:words@")
    assert main(words) == 0
    assert "6 of them done; nothing left" in capsys.readouterr().err
    reported(here, capsys)


def reported(here, capsys):
    """Its claim is reported as the lab's are; the smoke run stands for one that says something."""
    assert main(["report", "--own", "long_captions.py"]) == 2
    assert f"No record in {here} decides a claim at cpu or gpu scale; run lab ablate long_captions.py first." in capsys.readouterr().err
    record = json.loads((here / "long_captions-smoke.json").read_text())
    record["result"]["scale"] = "cpu"
    (here / "long_captions-cpu.json").write_text(json.dumps(record))
    (here / "notes.json").write_text("no record")
    assert main(["report", "--own", "long_captions.py", "--out", "report"]) == 0
    assert "| Filtering by ITM is better than by length. (cpu) | - |" in capsys.readouterr().out
    assert {path.name for path in (here / "report").iterdir()} == {
        "claims.md", "claims.tex", "claims.csv", "claims.png", "outcomes.md", "arms.md", "arms.csv", "long-captions-cpu.png",
    }  # fmt: skip
    assert "Filtering by ITM is better than by length." in (here / "report" / "outcomes.md").read_text()
    for seed in ("0", "1"):
        record["result"]["budgets"]["words"][seed]["samples"] += 1
    (here / "long_captions-cpu.json").write_text(json.dumps(record))
    assert main(["report", "--own", "long_captions.py", "--out", "report"]) == 2
    assert "The claim itm-over-words is refused: at seed 0" in capsys.readouterr().err
    assert main(["report", "--own", "table1"]) == 2
    assert "--own table1 is no Python file; give the FILE.py of lab ablate" in capsys.readouterr().err


PLACES = {"data": "web/*.tar", "human": "human.csv", "val": "val.csv"}


def two_records(folder):
    """Of one ablation and scale, in the generated world and on own pairs, as lab ablate names and marks them."""
    found = {"none": 0.4, "ITM": 0.5, "words": 0.45}
    arms = {name: {"about": name, "seeds": {str(seed): _worth(r1 + seed / 100) for seed in range(3)}} for name, r1 in found.items()}
    table = table_of("long_captions.py")
    for stem, scale, gain, more in (("long_captions", "cpu", 0.0, {}), ("long_captions-own", "own-cpu", 0.2, {"pairs": {"web": {}}, "left_out": {}})):
        own = {name: one if name != "ITM" else {**one, "seeds": {seed: _worth(float(seed) / 100 + 0.5 + gain) for seed in one["seeds"]}} for name, one in arms.items()}
        results = {name: {int(seed): found for seed, found in one["seeds"].items()} for name, one in own.items()}
        result = {"ablation": "long-captions", "question": table.ablation.question, "source": "our own", "scale": scale, "arms": own, "budgets": {}}
        result |= {"claims": decided("long-captions", results, table.claims)} | more
        options = {"name": "long_captions.py", "own": PLACES | {"vocab": None, "vocab_size": 4000, "image_column": "photo"}} if more else {"name": "long_captions.py"}
        (folder / f"{stem}-cpu.json").write_text(json.dumps({"commit": "abc", "config": {"options": options}, "result": result}))


def _worth(r1):
    return {"worth": {"retrieval": {"all": {"r1": r1, "tr1": r1, "ir1": r1, "images": 20}}, "items": {"r1": "1" * 40}}}


def test_own_pairs_are_told_apart_from_the_generated_world(here, capsys):
    (here / "long_captions.py").write_text(EXAMPLE)
    two_records(here)
    assert main(["report", "--own", "long_captions.py", "--out", "report"]) == 0
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith("| Filtering")]
    assert [row.split(" | ")[0] for row in rows] == [f"| Filtering by ITM is better than by length. ({where})" for where in ("cpu", "own pairs, cpu")]
    assert "| +5.0 |" in rows[0] and "| +25.0 |" in rows[1]
    told = {name: (here / "report" / name).read_text() for name in ("claims.csv", "arms.csv", "arms.md", "outcomes.md")}
    claims = list(csv.DictReader(io.StringIO(told["claims.csv"])))
    assert [(row["scale"], row["pairs"]) for row in claims] == [("cpu", "generated world"), ("cpu", "own pairs")]
    arms = {(row["scale"], row["pairs"]) for row in csv.DictReader(io.StringIO(told["arms.csv"]))}
    assert arms == {("cpu", "generated world"), ("cpu", "own pairs")}
    question = "## Is the number of words as good a filter as ITM?"
    assert [line for line in told["arms.md"].splitlines() if line.startswith("## ")] == [question, f"{question} (own pairs)"]
    assert [line.split(" |")[0] for line in told["outcomes.md"].splitlines() if line.startswith("| Filtering")] == [
        "| Filtering by ITM is better than by length.", "| Filtering by ITM is better than by length. (own pairs)",
    ]  # fmt: skip
    figures = {path.name for path in (here / "report").glob("long-captions*.png")}
    assert figures == {"long-captions-cpu.png", "long-captions-own-cpu.png"}


def test_the_commands_of_the_report_are_those_that_measure(here, capsys):
    (here / "long_captions.py").write_text(EXAMPLE)
    two_records(here)
    assert main(["report", "--own", "long_captions.py", "--out", "report"]) == 0
    first, second = re.findall(r"our own, `(lab ablate .*)`", (here / "report" / "arms.md").read_text())
    assert first == "lab ablate long_captions.py --scale cpu"
    assert second == "lab ablate long_captions.py --data 'web/*.tar' --human human.csv --val val.csv --image-column photo --scale cpu"
    options = read_options("ablate", Options, shlex.split(second)[2:])
    assert options.name == "long_captions.py" and (options.own.data, options.own.image_column) == ("web/*.tar", "photo")


def _of_seed(rows, seed):
    return [row["id"] for row in rows if row["kind"] == "capfilt" and row["config"]["seed"] == seed]


def test_a_name_is_one_of_the_labs_and_a_file_lies_where_its_record_does():
    known = table_of("table1")
    assert known.ablation is ablation("table1") and {claim.ablation for claim in known.claims} == {"table1"}
    own = Wanted(name="some/where/mine.py", scale="cpu", seeds=1)
    assert own.record == Path("mine-cpu.json")


def test_a_file_whose_folder_is_on_the_path_is_found_all_the_same(here):
    (here / "mine.py").write_text(GOOD)
    sys.path.insert(0, str(here))  # as of python -m lab.ablation
    first = table_of("mine.py").ablation
    assert first.name == "mine" and table_of("mine.py").ablation is first


ARMS = "from lab.ablation.table import NONE, Ablation\nfrom lab.claim import Claim, over\n"
GOOD = f"{ARMS}ABLATION = Ablation('mine', 'Why?', 'our own', (NONE,))\n"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("none.py", None, "There is no file none.py"),
        ("broken.py", "def f(:\n", "broken.py cannot be read as Python (SyntaxError"),
        ("raises.py", "1 / 0\n", "raises.py cannot be read as Python (ZeroDivisionError"),
        ("empty.py", "", "empty.py has no ABLATION = Ablation(...)"),
        ("json.py", GOOD, "no free name of a module; rename the file"),
        ("two words.py", GOOD, "no free name of a module; rename the file"),
        ("taken.py", GOOD.replace("'mine'", "'table1'"), "calls its ablation 'table1', as the lab does one of its own"),
        ("twice.py", GOOD.replace("(NONE,)", "(NONE, NONE)"), "Two arms of twice.py are named 'none'"),
        ("bare.py", GOOD.replace("(NONE,)", "()"), "has no arms"),
        ("claim.py", GOOD + "CLAIMS = ('so',)\n", "CLAIMS of claim.py must be a tuple of Claim(...)"),
        (
            "other.py",
            GOOD + "CLAIMS = (Claim(id='a', ablation='x', says='', value=over('none', 'none'), margin=0.1, source=''),)\n",
            "is about 'x'; write ablation='mine'",
        ),
        (
            "arms.py",
            GOOD + "CLAIMS = (Claim(id='a', ablation='mine', says='', value=over('A', 'none'), margin=0.1, source=''),)\n",
            "has no arm 'A'; choose one of none",
        ),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_sentence(here, capsys, name, text, why):
    if text is not None:
        (here / name).write_text(text)
    assert main(["ablate", name, "--scale", "smoke", "--seeds", "1"]) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1
    assert not list(here.glob("*.json"))
