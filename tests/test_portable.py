"""What is shipped holds nothing that stops on macOS or Windows. No test runs there: see docs/platforms.md."""

import ast
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxq.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("onnxq", "calibrators", "cli", "models", "passes")
SOURCES = sorted({path.resolve() for name in SHIPPED for path in (ROOT / name).rglob("*.py")})

POSIX_MODULES = {"crypt", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
POSIX_NAMES = {
    "os": "chown fork forkpty getloadavg getpgid getuid geteuid killpg link mkfifo nice O_CLOEXEC O_NOFOLLOW pread "
    "pwrite rename sched_getaffinity sendfile setsid statvfs symlink uname wait waitpid",
    "signal": "alarm pause setitimer SIGALRM SIGHUP SIGKILL SIGPIPE SIGUSR1",
    "time": "tzset",
}
POSIX_METHODS = {"hardlink_to", "symlink_to"}  # of a Path
POSIX_PLACES = ("/proc/", "/dev/", "/tmp", "/etc/", "/sys/", "/var/")


def unportable(source: str) -> Iterator[str]:
    """Each with its line."""
    for node in _for_all(ast.parse(source)):
        match node:
            case ast.Import(names):
                found = [name.name for name in names if name.name in POSIX_MODULES]
            case ast.ImportFrom(module, names) if module is not None:
                found = [module] if module in POSIX_MODULES else []
                found += [name.name for name in names if _posix(module, name.name)]
            case ast.Attribute(ast.Name(module), name):
                found = [f"{module}.{name}"] if _posix(module, name) else []
            case ast.Constant(str(text)):
                found = [text] if text.startswith(POSIX_PLACES) else []
            case ast.Call():
                found = list(_unportable_call(node))
            case _:
                continue
        yield from (f"line {node.lineno}: {name}" for name in found)


def _for_all(tree: ast.AST) -> Iterator[ast.AST]:
    """What is under a choice by ``os.name`` or ``sys.platform`` is not for all systems, and knows."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and {"os.name", "sys.platform"} & {ast.unparse(one) for one in ast.walk(node.test)}:
            continue
        yield node
        yield from _for_all(node)


def _posix(module: str, name: str) -> bool:
    return name in POSIX_NAMES.get(module, "").split()


def _unportable_call(call: ast.Call) -> Iterator[str]:
    """Text in whatever encoding the machine has, links, renames that fail where the file exists, a temporary file that
    nobody else may open."""
    given = {entry.arg: entry.value for entry in call.keywords}
    match call.func:
        case ast.Attribute(ast.Name("archive" | "Image"), "open"):  # members of archives, and images, are no text
            return
        case ast.Attribute(attr="read_text" | "write_text" as name) if "encoding" not in given:
            yield f"{name} without encoding"
        case ast.Attribute(attr="open") | ast.Name("open") if "encoding" not in given and not _binary(call):
            yield "open without encoding"
        case ast.Attribute(ast.Name("subprocess"), name) if "text" in given and "encoding" not in given:
            yield f"{name} of text without encoding"
        case ast.Attribute(ast.Name("tempfile"), "NamedTemporaryFile") if "delete" not in given:
            yield "NamedTemporaryFile without delete"
        case ast.Attribute(attr=name) if name in POSIX_METHODS and len(call.args) == 1:
            yield f".{name}()"


def _binary(call: ast.Call) -> bool:
    modes = [entry.value for entry in call.args if isinstance(entry, ast.Constant)]
    return any(isinstance(mode, str) and len(mode) <= 3 and "b" in mode for mode in modes)


def test_nothing_is_for_one_system_alone() -> None:
    found = {
        f"{path.relative_to(ROOT)}, {what}" for path in SOURCES for what in unportable(path.read_text(encoding="utf-8"))
    }
    assert len(SOURCES) > 200 and found == set()


@pytest.mark.parametrize(
    "line",
    [
        "import fcntl",
        "from resource import getrlimit",
        "from signal import alarm",
        "os.fork()",
        "signal.signal(signal.SIGALRM, stop)",
        "Path('a').symlink_to('b')",
        "os.rename('a', 'b')",
        "path.read_text()",
        "path.write_text('x', newline='')",
        "open('a', 'w')",
        "path.open()",
        "subprocess.run(['x'], text=True)",
        "tempfile.NamedTemporaryFile('w')",
        "limit = '/proc/meminfo'",
    ],
)
def test_it_would_be_found(line: str) -> None:
    assert any(unportable(line))


@pytest.mark.parametrize(
    "line",
    [
        "path.open('rb')",
        "open('a', 'w', encoding='utf-8')",
        "archive.open('member')",
        "os.replace('a', 'b')",
        "getattr(os, 'sched_getaffinity', None)",
        "tempfile.NamedTemporaryFile(dir=folder, delete=False)",
        "if os.name == 'nt':\n    import msvcrt\nelse:\n    import fcntl",
    ],
)
def test_what_runs_everywhere_passes(line: str) -> None:
    assert not any(unportable(line))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(
    "words", [["inspect", "digits_mobilenet", "--all"], ["quantize", "--help"], ["inspect", "模型"]]
)
def test_a_narrow_encoding_ends_no_command(words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["onnxq", *words])
    with pytest.raises(SystemExit) as end:
        main()
    for stream in streams.values():
        stream.flush()
    said = b"".join(stream.buffer.getvalue() for stream in streams.values())
    assert len(said) > 40 and end.value.code == (2 if words[-1] == "模型" else 0)
    assert end.value.code == 0 or b": ??: " in said
