"""Read a rubric: `support-triage@3` is the file `support-triage@3.yaml` in the rubrics' folder."""

from pathlib import Path

from pydantic import ValidationError

from scoring.rubrics.schema import Rubric
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import plain_yaml


def rubrics_folder(config: Path, rubrics: str) -> Path:
    """The folder that the setting `rubrics` of the file `config` names: beside that file, else in the working
    directory."""
    beside = config.parent / rubrics
    return beside if beside.is_dir() else Path(rubrics)


def load_rubric(folder: str | Path, name: str) -> Rubric:
    """The rubric `name` ("title@version") in `folder`.

    Raises ConfigurationError naming the file and what does not fit, also where the file's name and content disagree.
    """
    path = Path(folder) / f"{name}.yaml"
    if "@" not in name or "/" in name:
        raise ConfigurationError(f"rubric {name!r} must be NAME@VERSION, such as support-triage@3")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigurationError(f"cannot read rubric {path}: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ConfigurationError(f"rubric {path} is not UTF-8 text (byte {fault.start})") from fault
    try:
        rubric = Rubric.model_validate(plain_yaml(text, f"rubric {path}"))
    except ValidationError as faults:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'rubric'}: {e['msg']}" for e in faults.errors(include_url=False)]
        raise ConfigurationError(f"rubric {path}: " + "\n".join(lines)) from None
    if rubric.id != name:
        raise ConfigurationError(f"rubric {path} says it is {rubric.id!r}; name the file {rubric.id}.yaml")
    return rubric
