"""`tutelage keys`: create, list, revoke. Works on the store directly, with or without a running server."""

import hashlib
import time
from typing import Annotated

import typer
from msgspec.structs import asdict

from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer
from tutelage.cli.stores import opened
from tutelage.contracts.errors import UnknownName
from tutelage.contracts.ids import uuid7
from tutelage.contracts.keys import Key, KeyLimits
from tutelage.serve import new_secret


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="API keys: hashed at rest, shown once.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(list_keys)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(
    *,
    config: Config = DEFAULT_CONFIG,
    tenant: Annotated[str, typer.Option(help="Whose key it is; pairs and feedback belong to it.")] = "default",
    label: Annotated[str, typer.Option(help="A name to know it by.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="A key for the admin plane; it opens no data plane.")] = False,
    may_pin: Annotated[bool, typer.Option("--may-pin", help="May demand an arm with x-tutelage-arm.")] = False,
    no_log: Annotated[bool, typer.Option("--no-log", help="Nothing of its content is ever captured.")] = False,
    no_train: Annotated[bool, typer.Option("--no-train", help="Captured, never trained on.")] = False,
    no_pass_through: Annotated[
        bool, typer.Option("--no-pass-through", help="Only endpoints of the gateway itself: no files, batches, …")
    ] = False,
    max_concurrency: Annotated[int | None, typer.Option(min=1, help="Requests that it may have open at once.")] = None,
    rpm: Annotated[int | None, typer.Option(min=1, help="Requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, help="Tokens per minute, of prompts and answers.")] = None,
    usd_per_day: Annotated[float | None, typer.Option(min=0, help="Dollars per UTC day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, once. A limit that is not given is the default of `limits.key` in the configuration."""
    plain, now = new_secret(), time.time()
    limits = KeyLimits(max_concurrency=max_concurrency, rpm=rpm, tpm=tpm, usd_per_day=usd_per_day)
    key = Key(
        id=uuid7(now),
        digest=hashlib.sha256(plain.encode()).hexdigest(),
        tenant=tenant,
        label=label,
        created_at=now,
        role="admin" if admin else "data",
        may_pin=may_pin,
        may_log=not no_log,
        may_train=not no_train,
        may_pass_through=not no_pass_through,
        limits=None if limits == KeyLimits() else limits,
    )
    with opened(config) as (_, store):
        store.put_key(key)
    answer({"key": plain, "id": key.id}, f"{plain}\nid {key.id}; it is not shown again", as_json=as_json)


def list_keys(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List keys, without the keys themselves."""
    with opened(config) as (_, store):
        kept = store.keys()
    rows = [
        {
            "id": key.id,
            "role": key.role,
            "tenant": key.tenant,
            "label": key.label,
            "created_at": key.created_at,
            "revoked_at": key.revoked_at,
            "limits": None if key.limits is None else asdict(key.limits),
        }
        for key in kept
    ]
    words = "\n".join(
        f"{row['id']}  {row['role']:8} {row['tenant']:16} {row['label']}{'  revoked' if row['revoked_at'] else ''}"
        for row in rows
    )
    answer(rows, words or "no keys yet: tutelage keys create", as_json=as_json)


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")], config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Revoke a key: gateways refuse it within a second."""
    with opened(config) as (_, store):
        if not store.revoke_key(key_id, time.time()):
            raise UnknownName(f"no key {key_id!r} that is not revoked already; see tutelage keys list")
    answer({"revoked": key_id}, f"revoked {key_id}", as_json=as_json)
