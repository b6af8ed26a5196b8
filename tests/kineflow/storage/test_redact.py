import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.storage.credentials import HIDDEN, mask_uri, redact

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789!%:", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("uri", "masked"),
    [
        ("https://ann:s3cret@mlflow.example:5000/x?y=1", "https://***@mlflow.example:5000/x?y=1"),
        ("https://t0ken@host", "https://***@host"),
        ("get https://h/x?X-Amz-Signature=ab%2F1&y=1 now", "get https://h/x?X-Amz-Signature=***&y=1 now"),
        ("https://h/x?v=1&sig=ab#token=cd", "https://h/x?v=1&sig=***#token=***"),
        ("https://h/x?signal=3&keys=4", "https://h/x?signal=3&keys=4"),
        ("postgresql+psycopg2://u:p%40ss@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("https://u:p@ss@host/", "https://***@host/"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("http://host/a@b", "http://host/a@b"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("write to ann@example.org", "write to ann@example.org"),
    ],
)
def test_masks_userinfo_and_nothing_else(uri: str, masked: str) -> None:
    assert mask_uri(uri) == masked


@given(WORDS, WORDS)
def test_no_user_or_password_of_any_url_survives(user: str, password: str) -> None:
    assert mask_uri(f"at https://{user}:{password}@host/ it failed") == f"at https://{HIDDEN}@host/ it failed"


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "my_api_key"],
)
def test_hides_values_of_variables_named_like_secrets(name: str) -> None:
    assert redact("key=wJalrXUtnFEMI!", {name: "wJalrXUtnFEMI"}) == "key=***!"


def test_leaves_other_variables_and_short_values() -> None:
    assert redact("true /home/ann", {"USE_TOKEN": "true", "HOME": "/home/ann"}) == "true /home/ann"


def test_hides_the_longer_of_two_secrets_whole() -> None:
    environ = {"A_TOKEN": "abcdef", "B_TOKEN": "abcdefghij"}
    assert redact("abcdefghij", environ) == HIDDEN


def test_reads_the_process_environment_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "correct-horse")
    assert "correct-horse" not in redact("it was correct-horse")
