"""The `lab` command: quick help, one sentence for every refusal, quiet ends."""

import ast
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

import lab.cli
from blip import __version__
from blip.errors import InputError
from lab.cli import COMMANDS, main
from lab.options import read_options

ROOT = Path(__file__).parents[1]
LAB = [sys.executable, "-m", "lab"]


def run(*words):
    return subprocess.run([*LAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def sentence(capsys, *words):
    """What a refused command line says on stderr; nothing may be on stdout, and the status is 2."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("lab: ") and said.err.endswith(".\n") and said.err.count("\n") == 1
    return said.err.strip()


def test_help_lists_every_command_with_what_it_does(capsys):
    assert main([]) == 0
    bare = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == bare
    for name, (_, about) in COMMANDS.items():
        assert f"  lab {name} " in bare and about in bare


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from lab.cli import main; main(['--help']); main(['--version']); main(['ledgr'])\n"
        "heavy = {'torch', 'numpy', 'tyro', 'pyarrow', 'PIL', 'gradio', 'matplotlib', 'tqdm'} & set(sys.modules)\n"
        "sys.exit(f'imported: {sorted(heavy)}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_help_answers_within_a_second():
    """Median of five; where a bare Python takes long to start, five times that: the machine is busy."""

    def seconds(*command):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    bare = seconds(sys.executable, "-c", "pass")
    assert seconds(*LAB, "--help") < max(1.0, 5 * bare)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"BLIP Lab {__version__}\n"


def test_a_family_lists_its_members(capsys):
    assert main(["ledger"]) == 0
    said = capsys.readouterr().out
    members = [name for name in COMMANDS if name.startswith("ledger ")]
    assert len(members) >= 5 and all(f"lab {name} " in said for name in members)
    assert "capfilt" not in said.replace("lab capfilt again", "")


def test_no_command_is_forgotten():
    modules = {f"lab.commands.{path.stem}" for path in (ROOT / "lab" / "commands").glob("[!_]*.py")}
    assert modules - {module for module, _ in COMMANDS.values()} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_with_options_and_main(name):
    assert find_spec(COMMANDS[name][0].split(".")[0]), "its package is missing"
    module = import_module(COMMANDS[name][0])
    assert is_dataclass(module.Options) and module.Options.__dataclass_params__.frozen
    assert module.Options.__doc__ and module.main.__doc__
    assert module.main.__annotations__["return"] in (int, "int")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_says_what_it_is(name, capsys):
    module = import_module(COMMANDS[name][0])
    assert main([*name.split(), "--help"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.startswith(f"usage: lab {name} ")
    for field in fields(module.Options):
        option = field.name.replace("_", "-")
        assert f"--{option}" in said.out or f"--no-{option}" in said.out or nested_or_positional(field, said.out)
    assert undocumented(module) == []


def nested_or_positional(field, text):
    return f"{field.name.replace('_', ' ')} options" in text or field.name.upper() in text


def undocumented(module):
    """Options without a sentence behind them, by the source: a help text is a string after the field."""
    tree = ast.parse(Path(module.__file__).read_text())
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Options").body
    told = [isinstance(node, ast.Expr) for node in body]
    return [
        node.target.id
        for row, node in enumerate(body)
        if isinstance(node, ast.AnnAssign) and not (row + 1 < len(body) and told[row + 1])
    ]


def test_an_unknown_command_gets_a_suggestion(capsys):
    assert "no command 'capfilter', did you mean 'capfilt'" in sentence(capsys, "capfilter", "--data", "x")
    assert "no command 'ledger shwo', did you mean 'ledger show'" in sentence(capsys, "ledger", "shwo")
    assert "no command 'xyzzy'; see lab --help." in sentence(capsys, "xyzzy")


def test_an_unknown_option_is_named_with_a_suggestion(capsys):
    out = ["train-shipped", "--out", "x"]
    assert "'--sed', did you mean '--seed'" in sentence(capsys, *out, "--sed", "3")
    assert "has no option '--xyzzy'; see lab train-shipped --help" in sentence(capsys, *out, "--xyzzy")
    assert "does not know what to do with 'word'" in sentence(capsys, *out, "word")
    # Named before what is missing: a misspelt required option is both.
    assert "'--outt', did you mean '--out'" in sentence(capsys, "train-shipped", "--outt", "x")


def test_what_has_its_place_is_not_suggested_as_an_option(capsys):
    said = sentence(capsys, "ledger", "agree", "here", "--other", "there")
    assert "has no option '--other'" in said and "did you mean '--other'" not in said
    said = sentence(capsys, "ledger", "show", "here", "key", "--ledgr", "x")
    assert "has no option '--ledgr'" in said and "--ledger" not in said


def test_what_is_missing_is_named(capsys):
    assert "pretrain needs --data STR and --out PATH;" in sentence(capsys, "pretrain")
    assert "ledger show needs LEDGER and KEY;" in sentence(capsys, "ledger", "show")
    assert "needs a value after --seed;" in sentence(capsys, "train-shipped", "--out", "x", "--seed")


def test_a_wrong_value_is_named_with_its_option(capsys):
    words = ["train-shipped", "--out", "x", "--seed", "three"]
    assert "needs a whole number for --seed, not 'three';" in sentence(capsys, *words)
    words = ["ledger", "decide", "x", "--out", "y.csv", "--web", "half"]
    assert "needs a number for --web, not 'half';" in sentence(capsys, *words)


@dataclass(frozen=True, kw_only=True)
class Odd:
    """Options of kinds that no command has yet."""

    kind: Literal["one", "two"] = "one"
    """One or two."""
    pair: tuple[int, int] = (1, 2)
    """Two numbers."""
    ratio: float = 0.5
    """Any number."""
    fixed: bool = True
    """Yes or no."""
    most: int | None = None
    """A whole number, or none."""
    share: float | None = None
    """A number, or none."""
    out: Path = Path("out")
    """A place."""
    device: str = "cpu"
    """A device."""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "three"], "odd has no --kind 'three': choose 'one', 'two'; see lab odd --help."),
        (["--pair", "1"], "odd needs a value after --pair; see lab odd --help."),
        (["--fixed", "perhaps"], "odd does not know what to do with 'perhaps'; see lab odd --help."),
        (["--most", "1e3"], "odd needs a whole number for --most, not '1e3'; see lab odd --help."),
        (["--share", "x"], "odd needs a number for --share, not 'x'; see lab odd --help."),
        (["--out", ""], "odd --out names nothing; give a path (is a variable of the shell not set?)."),
        (["--out= "], "odd --out names nothing; give a path (is a variable of the shell not set?)."),
        (["--device", "gpu"], "odd knows no --device 'gpu'; give cpu or cuda."),
        (["--ratio", "x" * 300], f"odd needs a number for --ratio, not '{'x' * 300}'; see lab odd --help."),
        (
            ["--pair", "1", "x"],
            (
                "odd cannot use --pair: Could not parse arguments ['1', 'x'] into tuple type "
                "typing.Tuple[int, int]; see lab odd --help."
            ),
        ),
    ],
)
def test_refusals_of_other_kinds_are_one_sentence(words, said):
    with pytest.raises(InputError) as error:
        read_options("odd", Odd, words)
    assert str(error.value) == said


def test_good_words_become_options():
    assert read_options("odd", Odd, ["--kind", "two", "--no-fixed", "--pair", "3", "4"]) == Odd(
        kind="two", fixed=False, pair=(3, 4)
    )


def put(monkeypatch, action):
    """Let `lab xyzzy` be a command that does this."""

    @dataclass(frozen=True)
    class Options:
        """Nothing to choose."""

    module = type(sys)("xyzzy")
    module.Options, module.main = Options, lambda options: action()
    monkeypatch.setitem(sys.modules, "xyzzy", module)
    monkeypatch.setattr(lab.cli, "COMMANDS", {"xyzzy": ("xyzzy", "")})


def test_an_input_error_of_a_command_is_one_sentence(monkeypatch, capsys):
    def fail():
        raise InputError("The file a.json is empty; give one with pairs.")

    put(monkeypatch, fail)
    assert sentence(capsys, "xyzzy") == "lab: The file a.json is empty; give one with pairs."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b cannot be used (Permission denied)"),
        (IsADirectoryError(21, "Is a directory", b"/a"), "/a cannot be used (Is a directory)"),
        (OSError(5, "Input/output error"), "The system refused (Input/output error)"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(monkeypatch, capsys, error, said):
    def fail():
        raise error

    put(monkeypatch, fail)
    assert sentence(capsys, "xyzzy") == f"lab: {said}; give another place, or the right to it, and start again."


def test_an_error_that_is_not_the_systems_is_shown_as_one(monkeypatch):
    def fail():
        raise OSError("a library's own")

    put(monkeypatch, fail)
    with pytest.raises(OSError, match="a library's own"):
        main(["xyzzy"])


def test_a_missing_package_is_named(monkeypatch, capsys):
    put(monkeypatch, lambda: import_module("package_that_nobody_has.part"))
    assert "needs the package package_that_nobody_has;" in sentence(capsys, "xyzzy")


def test_a_missing_module_of_ours_is_a_bug_and_shown_as_one(monkeypatch):
    put(monkeypatch, lambda: import_module("blip.module_that_is_not_there"))
    with pytest.raises(ModuleNotFoundError):
        main(["xyzzy"])


def test_stopped_by_hand_says_one_sentence(monkeypatch, capsys):
    # A shell starts background jobs with SIGINT ignored, and tests may be one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    put(monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    try:
        assert main(["xyzzy"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "lab: stopped; the same command continues where it was.\n"


def test_a_broken_pipe_is_silent():
    """The reader leaves before anything is written, and again while Python flushes at exit."""
    for unbuffered in ("", "1"):
        writer = subprocess.Popen(
            [sys.executable, "-c", "import sys, time; sys.stdin.read(1); sys.argv[1:] = ['--help']; from lab.cli import entry; entry()"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(ROOT)},
        )
        writer.stdout.close()
        writer.stdin.write(b"x")
        writer.stdin.close()
        assert writer.stderr.read() == b""
        assert writer.wait(timeout=60) == 141
        writer.stderr.close()


def ended(code, redirected="", **env):
    """How the console script ends in a shell, with `main` as this code has it."""
    script = f"import sys, lab.cli; lab.cli.main = lambda: {code}; lab.cli.entry()"
    shell = ["sh", "-c", f'"$@" {redirected}', "sh", sys.executable, "-c", script]
    return subprocess.run(shell, cwd=ROOT, capture_output=True, timeout=60, check=False, env=os.environ | env)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_the_terminal_lacks_is_escaped_and_json_stays_json(encoding):
    text = 'caf\xe9 \u2713 \u65e5 \U0001f436 \udcff "'
    code = f"[print({json.dumps(text, ensure_ascii=False)!a}, file=out) for out in (sys.stdout, sys.stderr)] and 0"
    done = ended(code, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding)) == json.loads(done.stderr.decode(encoding)) == text
    assert (b"\\u00e9" in done.stdout) == (encoding == "ascii") and (b"\\u65e5" in done.stdout) == (encoding != "utf-8")


@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_outputs_change_no_exit_status(redirected):
    for status in (0, 1):
        done = ended(f"print('done') or print('said', file=sys.stderr) or {status}", redirected)
        assert done.returncode == status
        assert done.stdout == (b"" if ">&-" in redirected.replace("2>&-", "") else b"done\n")
        assert done.stderr == (b"" if "2>&-" in redirected else b"said\n")
    shell = ["sh", "-c", f'"$@" {redirected}', "sh", *LAB, "xyzzy"]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == (b"" if "2>&-" in redirected else b"lab: There is no command 'xyzzy'; see lab --help.\n")
    shell[4:] = [sys.executable, "-m", "lab.ablation", "xyzzy"]  # the same where tyro is not installed
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"" if "2>&-" in redirected else b"lab: There is no ablation 'xyzzy'; choose one of ")
    assert done.stderr.count(b"\n") == ("2>&-" not in redirected)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here, a device that takes nothing")
def test_an_output_that_takes_nothing_is_a_refusal():
    said = b"lab: The disk is full; free some space and start again.\n"
    for words in ("--version", "--help"):
        shell = ["sh", "-c", '"$@" >/dev/full', "sh", *LAB, words]
        done = subprocess.run(shell, cwd=ROOT, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (2, said)
    done = ended("print('x' * 100_000) or 0", ">/dev/full 2>&1")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


def test_python_m_lab_is_the_same_command():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"BLIP Lab {__version__}\n")
    assert run("xyzzy").returncode == 2


def test_capfilt_says_which_of_several_filters_decides(capsys):
    assert main(["capfilt", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "The one named itm decides; without one of that name the first that gives a match probability, else the first." in said
