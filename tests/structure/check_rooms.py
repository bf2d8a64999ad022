#!/usr/bin/env python3
"""Checks the house rules that a compiler does not: which room includes which, the torch wall, file openings, lengths.

    check_rooms.py SOURCE_DIR      prints file:line: reason for every violation; exit status 1 if there is one
    check_rooms.py --self-test     plants violations in a temporary tree and checks that each is found

Rules, for every C++ file below src/, tests/ and bench/:
  1. src/<room> includes only itself and the rooms of its row in MAY_INCLUDE; so do tests/<room> and
     bench/<room>_bench.cc.
  2. libtorch (<torch/...>, <ATen/...>, <c10/...>) only behind the wall: TORCH_ROOMS and TORCH_FILES. The umbrella
     headers of UMBRELLAS are included nowhere.
  3. An include in quotes that names a room names a file that exists.
  4. A file opens with a comment that says what it is.
  5. A file of more than 500 lines says why in that comment: "Longer than 500 lines because ...".
"""

import re
import sys
import tempfile
from pathlib import Path

# Room -> rooms it may include besides itself. ARCHITECTURE.md shows the same table.
EVERYTHING_BUT_APPS = ("core net data text llm cot retrieval nn ict models train pipeline").split()
MAY_INCLUDE = {
    "core": [],
    "net": ["core"],
    "data": ["core"],
    "text": ["core", "net"],
    "llm": ["core", "net", "text"],
    "cot": ["core", "net", "data", "text", "llm"],
    "retrieval": ["core", "data"],
    "nn": ["core"],
    "ict": ["core", "nn"],
    "models": ["core", "nn", "ict"],
    "train": ["core", "nn", "ict", "data", "retrieval", "models"],
    "pipeline": EVERYTHING_BUT_APPS,
    "serve": ["core", "net", "data", "text", "retrieval", "models"],
    "console": ["core", "serve"],
    "apps": EVERYTHING_BUT_APPS + ["serve", "console"],
}
TORCH_ROOMS = {"llm", "nn", "ict", "models", "train"}
TORCH_FILES = re.compile(r"(src|tests)/text/bert[^/]*|src/serve/torch_bridge\.(cc|h)")
TORCH_HEADER = re.compile(r"(torch|ATen|c10)/")
UMBRELLAS = {"torch/torch.h", "torch/nn.h", "torch/script.h", "torch/extension.h", "ATen/ATen.h"}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
LONGEST = 500
EXCUSE = "Longer than 500 lines because"
SUFFIXES = {".cc", ".h"}


def opening_comment(lines):
    """The comment a file starts with, "" if it starts with something else."""
    comment = []
    for line in lines:
        if not line.startswith("//"):
            break
        comment.append(line.removeprefix("//").strip())
    return " ".join(comment).strip()


def check_include(root, path, room, header, quoted):
    """The reasons, if any, why this file may not include this header."""
    relative = path.relative_to(root).as_posix()
    if header in UMBRELLAS:
        yield f"umbrella header <{header}> is banned: include the parts that are used"
    if TORCH_HEADER.match(header) and room not in TORCH_ROOMS and not TORCH_FILES.fullmatch(relative):
        yield f"<{header}> is behind the torch wall, and room {room or 'of none'} is not"
    target = header.split("/")[0] if "/" in header else None
    if target not in MAY_INCLUDE:
        return
    if not quoted:
        yield f"<{header}>: our own headers are included in quotes"
    in_source = relative.startswith("src/")
    if not (root / "src" / header).is_file() and (in_source or not (root / "tests" / header).is_file()):
        yield f'"{header}" does not exist'
    if room is not None and target != room and target not in MAY_INCLUDE[room]:
        allowed = ", ".join([room, *MAY_INCLUDE[room]])
        yield f"room {room} may not include room {target} (may: {allowed})"


def room_of(root, path):
    """The room a file belongs to: src/<room>/..., tests/<room>/..., bench/<room>_bench.cc. None for the others (helpers
    shared by all tests, tests of several rooms)."""
    parts = path.relative_to(root).parts
    if parts[0] == "bench":
        room = path.stem.removesuffix("_bench")
    else:
        room = parts[1] if len(parts) > 2 else None
    return room if room in MAY_INCLUDE or parts[0] == "src" else None


def check_file(root, path):
    lines = path.read_text(encoding="utf-8").splitlines()
    room = room_of(root, path)
    if room is not None and room not in MAY_INCLUDE:
        yield 1, f"unknown room '{room}': add its row to MAY_INCLUDE and to ARCHITECTURE.md"
        return
    if path.parent == root / "src":
        yield 1, "lies in no room"
    comment = opening_comment(lines)
    if len(comment) < 10:
        yield 1, "does not open with a comment that says what the file is"
    if len(lines) > LONGEST and EXCUSE not in comment:
        yield LONGEST + 1, f'has {len(lines)} lines: split it, or say "{EXCUSE} ..." in the opening comment'
    for number, line in enumerate(lines, 1):
        if match := INCLUDE.match(line):
            for reason in check_include(root, path, room, match[2], match[1] == '"'):
                yield number, reason


def check_tree(root):
    """All violations as (file, line, reason), and the number of files read."""
    found = []
    files = [p for top in ("src", "tests", "bench") for p in sorted((root / top).rglob("*")) if p.suffix in SUFFIXES]
    for path in files:
        found += [(path.relative_to(root).as_posix(), line, reason) for line, reason in check_file(root, path)]
    return found, len(files)


OPENING = "// A file that says what it is.\n"
# Path -> (content, what must be found as "line: part of the reason"); nothing for files that are fine.
SELF_TEST = {
    "src/core/error.h": (OPENING, []),
    "src/data/rows.h": (OPENING + '#include "core/error.h"\n#include <vector>\n', []),
    "src/nn/mlp.h": (OPENING + '#include <torch/nn/module.h>\n#include "core/error.h"\n', []),
    "src/text/bert_encoder.cc": (OPENING + "#include <ATen/core/Tensor.h>\n", []),
    "src/train/loop.cc": (OPENING + '#include "data/rows.h"\n#include "nn/mlp.h"\n', []),
    "src/core/upwards.cc": (OPENING + '\n#include "data/rows.h"\n', ["3: room core may not include room data"]),
    "src/retrieval/wall.cc": (OPENING + "#  include <torch/types.h>\n", ["2: behind the torch wall"]),
    "src/data/wall.h": (OPENING + "#include <c10/core/Device.h>\n", ["2: behind the torch wall"]),
    "src/nn/umbrella.h": (OPENING + "#include <torch/torch.h>\n", ["2: umbrella header"]),
    "src/text/umbrella.cc": (OPENING + "#include <ATen/ATen.h>\n", ["2: umbrella header", "2: behind the torch wall"]),
    "src/data/gone.cc": (OPENING + '#include "core/gone.h"\n', ["2: does not exist"]),
    "src/data/angle.cc": (OPENING + "#include <core/error.h>\n", ["2: included in quotes"]),
    "src/data/silent.cc": ("#include <vector>\n", ["1: does not open with a comment"]),
    "src/data/curt.cc": ("// x\n", ["1: does not open with a comment"]),
    "src/data/empty.cc": ("", ["1: does not open with a comment"]),
    "src/data/long.cc": (OPENING + "\n" * 500, ["501: has 501 lines"]),
    "src/data/just_fits.cc": (OPENING + "\n" * 499, []),
    "src/data/excused.cc": (OPENING + f"// {EXCUSE} it is a table.\n" + "\n" * 600, []),
    "src/data/late_excuse.cc": (OPENING + "\n" * 600 + f"// {EXCUSE} it is.\n", ["501: has 602 lines"]),
    "src/cellar/wine.cc": (OPENING, ["1: unknown room 'cellar'"]),
    "src/stray.cc": (OPENING, ["1: lies in no room"]),
    "tests/shared_data.h": (OPENING, []),
    "tests/data/helper.h": (OPENING, []),
    "tests/data/rows_test.cc": (OPENING + '#include "data/rows.h"\n#include "data/helper.h"\n#include "shared_data.h"\n', []),
    "tests/data/upwards_test.cc": (OPENING + '#include "train/loop.h"\n',
                                   ["2: does not exist", "2: room data may not include room train"]),
    "tests/golden/forward_test.cc": (OPENING + '#include "data/rows.h"\n', []),
    "bench/bench.h": (OPENING, []),
    "bench/train_bench.cc": (OPENING + '#include "bench/bench.h"\n#include <ATen/ops/mm.h>\n#include "data/rows.h"\n', []),
    "bench/data_bench.cc": (OPENING + "#include <ATen/ops/mm.h>\n", ["2: behind the torch wall"]),
}


def self_test():
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name, (content, _) in SELF_TEST.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content, encoding="utf-8")
        found, _ = check_tree(root)
    wrong = 0
    for name, (_, expected) in SELF_TEST.items():
        reasons = [f"{line}: {reason}" for file, line, reason in found if file == name]
        matches = len(reasons) == len(expected) and all(
            any(r.startswith(e.split(" ")[0]) and e.split(" ", 1)[1] in r for r in reasons) for e in expected)
        if not matches:
            wrong += 1
            print(f"self-test: {name}: expected {expected}, found {reasons}")
    print(f"self-test: {len(SELF_TEST)} planted files, {wrong} judged wrongly")
    return 1 if wrong else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) != 1 or not (Path(arguments[0]) / "src").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    found, files = check_tree(Path(arguments[0]).resolve())
    for file, line, reason in found:
        print(f"{file}:{line}: {reason}")
    print(f"{files} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
