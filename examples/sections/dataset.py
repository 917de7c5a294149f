"""Rebuilds the shipped data from a Debian archive's package lists (`apt-cache dumpavail`).

Owns which descriptions there are and the part each falls into. A part depends on the description's own hash and the
seed, not on the order of the package lists, so another snapshot of the archive moves few descriptions between parts.
It must not know the teacher or the student.

    python -m examples.sections.dataset            # rewrites data/descriptions.jsonl.gz and labels.jsonl
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from examples.sections.task import (
    DESCRIPTIONS,
    LABELS,
    SECTIONS,
    Description,
    Part,
    canonical,
    input_sha256,
    read_descriptions,
)

TEACHER_ROWS = 3_000
HELDOUT_ROWS = 1_500
LABEL_SOURCE = "Debian Section"
_SECTION = re.compile(r"^Section: (\S+)", re.MULTILINE)
_DESCRIPTION = re.compile(r"^Description(?:-en)?: (.+)", re.MULTILINE)


def split(records: Iterable[tuple[str, str]], seed: int) -> list[Description]:
    """Deduplicate (description, section) records and give each description its part.

    The first record of a description decides its section, one of the task's sections going before all others. Only
    `teacher` and `heldout` keep their labels: what is captured must not have one, so that no student can be trained
    on it.
    """
    sections: dict[str, str] = {}
    for text, section in records:
        known = sections.get(text)
        if known is None or (known not in SECTIONS and section in SECTIONS):
            sections[text] = section
    order = sorted(sections, key=lambda text: hashlib.sha256(f"{seed}:{text}".encode()).digest())
    labelled = [text for text in order if sections[text] in SECTIONS]
    heldout_end = TEACHER_ROWS + HELDOUT_ROWS

    def rows(texts: Iterable[str], part: Part) -> Iterator[Description]:
        keeps_label = part in ("teacher", "heldout")
        for text in texts:
            yield Description(text=text, part=part, section=sections[text] if keeps_label else None)

    return [
        *rows(labelled[:TEACHER_ROWS], "teacher"),
        *rows(labelled[TEACHER_ROWS:heldout_end], "heldout"),
        *rows(labelled[heldout_end:], "capture"),
        *rows((text for text in order if sections[text] not in SECTIONS), "capture_other"),
    ]


def archive_records(dump: str) -> Iterator[tuple[str, str]]:
    """Yield (canonical short description, section) of every package stanza in the text of `apt-cache dumpavail`."""
    for stanza in dump.split("\n\n"):
        section, description = _SECTION.search(stanza), _DESCRIPTION.search(stanza)
        if section and description:
            yield canonical(description[1]), section[1]


def write_descriptions(rows: Iterable[Description], path: Path) -> None:
    """Write the rows as gzipped JSONL, byte for byte the same for the same rows."""
    lines = (
        json.dumps({"text": row.text, "part": row.part, "section": row.section}, ensure_ascii=False) + "\n"
        for row in rows
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(lines).encode("utf-8"), compresslevel=9, mtime=0))


def write_labels(rows: Iterable[Description], version: str, path: Path) -> None:
    """Write the rubric's reference file: the hash of each held-out input with the section it belongs to."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            if row.part == "heldout":
                key = input_sha256(row.text)
                reference = {"input_sha256": key, "value": row.section, "source": LABEL_SOURCE, "version": version}
                out.write(json.dumps(reference) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="bookworm", help="name of the archive snapshot, kept with the labels")
    parser.add_argument("--from-shipped", action="store_true", help="only rewrite labels.jsonl from the shipped data")
    arguments = parser.parse_args()
    if arguments.from_shipped:
        rows = list(read_descriptions())
    else:
        dump = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
        rows = split(archive_records(dump), arguments.seed)
        write_descriptions(rows, DESCRIPTIONS)
    write_labels(rows, arguments.version, LABELS)
    print(dict(Counter(row.part for row in rows)))
    print(dict(Counter(row.section for row in rows if row.part == "heldout")))


if __name__ == "__main__":
    main()
