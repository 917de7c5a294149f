import hashlib

from tests.tutelage.cli.conftest import Site
from tutelage.contracts.ids import made_at
from tutelage.contracts.keys import KeyLimits


def test_a_key_is_printed_once_and_kept_as_its_digest(site: Site):
    answered = site.run("keys", "create", "--json")
    assert answered.code == 0
    assert set(answered.document) == {"key", "id"}
    [kept] = tuple(site.store.keys())
    assert kept.id == answered.document["id"]
    assert kept.digest == hashlib.sha256(answered.document["key"].encode()).hexdigest()
    assert made_at(kept.id) > 1e9
    assert answered.document["key"] not in (site.run("keys", "list").out + site.run("keys", "list", "--json").out)


def test_a_key_is_for_data_and_allows_capture_unless_said_otherwise(site: Site):
    site.run("keys", "create", "--tenant", "acme", "--label", "app")
    site.run("keys", "create", "--admin", "--may-pin", "--no-log", "--no-train", "--no-pass-through")
    plain, admin = tuple(site.store.keys())
    assert (plain.tenant, plain.label, plain.role) == ("acme", "app", "data")
    assert (plain.may_pin, plain.may_log, plain.may_train, plain.may_pass_through) == (False, True, True, True)
    assert admin.role == "admin"
    assert (admin.may_pin, admin.may_log, admin.may_train, admin.may_pass_through) == (True, False, False, False)


def test_a_key_has_the_limits_that_it_was_given(site: Site):
    site.run("keys", "create", "--max-concurrency", "4", "--rpm", "60", "--tpm", "9000", "--usd-per-day", "2.5")
    site.run("keys", "create")
    limited, free = tuple(site.store.keys())
    assert limited.limits == KeyLimits(max_concurrency=4, rpm=60, tpm=9000, usd_per_day=2.5)
    assert free.limits is None
    assert site.run("keys", "create", "--rpm", "0").code == 2
    assert '"rpm": 60' in site.run("keys", "list", "--json").out


def test_a_key_is_revoked_once(site: Site):
    key_id = site.run("keys", "create", "--json").document["id"]
    assert site.run("keys", "revoke", key_id).code == 0
    assert "revoked" in site.run("keys", "list").out
    again = site.run("keys", "revoke", key_id)
    assert again.code == 3
    assert key_id in again.err


def test_an_empty_list_says_what_to_do(site: Site):
    assert "tutelage keys create" in site.run("keys", "list").out
