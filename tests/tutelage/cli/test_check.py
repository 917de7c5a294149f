from tests.tutelage.cli.conftest import Site


def test_a_missing_rubric_and_secret_are_named_together(site: Site):
    answered = site.run("check-config")
    assert answered.code == 2
    assert "routes.triage.rubric" in answered.err
    assert "upstreams.gpt.api_key: environment variable CLI_TEST_SECRET is not set" in answered.err


def test_a_right_configuration_is_counted(site: Site, monkeypatch):
    monkeypatch.setenv("CLI_TEST_SECRET", "opens nothing")
    text = site.config.read_text()
    site.config.write_text(
        text.replace("rubric: exact@1", "system_prompt_version: v1").replace("stages:", "mode: observe, stages:")
    )
    answered = site.run("check-config", "--json")
    assert answered.code == 0, answered.err
    assert answered.document["routes"] == ["fixed", "plain", "triage"]


def test_an_unknown_setting_is_exit_code_2(site: Site):
    site.config.write_text(site.config.read_text() + "limitss: {}\n")
    answered = site.run("status")
    assert answered.code == 2
    assert "did you mean 'limits'" in answered.err


def test_a_missing_file_says_how_to_name_another(site: Site):
    site.config.unlink()
    answered = site.run("keys", "list")
    assert answered.code == 2
    assert "--config FILE" in answered.err
