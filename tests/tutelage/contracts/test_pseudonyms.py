import subprocess
import sys

import pytest

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.pseudonyms import KEY_BYTES, Pseudonyms, load_pseudonyms


def test_the_key_is_made_once_for_its_owner_only(tmp_path):
    place = tmp_path / "data"
    first = load_pseudonyms(place)
    assert load_pseudonyms(place) == first
    assert (place / "secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in place.iterdir()] == ["secret"]


def test_processes_that_start_together_agree(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tutelage.contracts.pseudonyms import load_pseudonyms; "
        "sys.stdout.write(load_pseudonyms(Path(sys.argv[1])).of('subject', 'bob'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=300)[0] for process in started}) == 1
    assert {process.returncode for process in started} == {0}


@pytest.mark.parametrize("content", ["", "zz" * KEY_BYTES, "ab", "é"])
def test_a_damaged_key_is_refused(tmp_path, content):
    (tmp_path / "secret").write_text(content)
    with pytest.raises(ConfigurationError, match="secret"):
        load_pseudonyms(tmp_path)


def test_a_place_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="writable"):
        load_pseudonyms(tmp_path / "file")


def test_pseudonyms_depend_on_key_kind_and_value_and_show_none_of_them():
    one, other = Pseudonyms(bytes(KEY_BYTES)), Pseudonyms(bytes([1] * KEY_BYTES))
    found = {one.of("subject", "bob"), one.of("subject", "eve"), one.of("email", "bob"), other.of("subject", "bob")}
    assert len(found) == 4
    assert one.of("subject", "bob") == one.of("subject", "bob")
    assert len(one.of("subject", "\ud800")) == 32
    assert "00" not in repr(one)
