"""The repository as a test subject: what a reader relies on is kept true here."""

import re
from pathlib import Path

import pytest

from bridge import errors, metrics
from bridge.config import Config, variables
from tests.support.stack import ROOT

MODULES = sorted((ROOT / "bridge").rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_stays_readable_in_one_sitting(module: Path):
    """300 lines at most, a few over where a split would read worse; split by responsibility."""
    assert len(module.read_text().splitlines()) <= 365


def test_every_setting_is_documented():
    """docs/configuration.md and ops/.env.example name each variable, and no other."""
    known = {name for names in variables().values() for name in names}
    for path in (ROOT / "docs" / "configuration.md", ROOT / "ops" / ".env.example"):
        named = set(re.findall(r"\b(?:BRIDGE|SUPABASE)_[A-Z_]+\b", path.read_text()))
        assert named - {"SUPABASE_URL"} <= known, path
        assert known - {"SUPABASE_SECRET_KEY"} <= named | {"BRIDGE_LOG_LEVEL"}, path


def test_documented_defaults_are_those_of_the_code():
    """The default column of docs/configuration.md."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    config = Config(supabase_url="http://x", service_role_key="k")
    for field, (name, *_aliases) in variables().items():
        row = re.search(rf"^\| `{name}` \| (.*?) \|", text, re.MULTILINE)
        assert row is not None, name
        value = getattr(config, field)
        if isinstance(value, bool | int | float | str) and name.startswith("BRIDGE_"):
            shown = (
                str(value).lower()
                if isinstance(value, bool)
                else f"{value:g}"
                if isinstance(value, float)
                else str(value)
            )
            assert f"`{shown}`" in row[1], name


def test_every_metric_says_what_it_counts():
    """A help text that is a sentence, and a name of the form that Prometheus wants."""
    for family in metrics.REGISTRY.collect():
        assert family.name.startswith(("bridge_", "process_"))
        assert len(family.documentation) > 20
        assert family.documentation.endswith(".")


def test_every_metric_that_a_document_names_is_there():
    """Also where one is advised to look at it; the changelog may name former ones."""
    families = list(metrics.REGISTRY.collect())
    known = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
    for path in [*(ROOT / "docs").rglob("*.md"), *(ROOT / "ops").rglob("*.md"), ROOT / "README.md"]:
        named = set(re.findall(r"\bbridge_\w+_(?:total|seconds|bytes)\b", path.read_text()))
        assert named <= known, path


def test_every_event_of_the_log_is_documented():
    """Whoever reads a log line finds its event; the local stack's and the demo's are for developers."""
    documented = (ROOT / "docs" / "errors.md").read_text()
    sources = [p for p in MODULES if not {"local", "demo"} & set(p.relative_to(ROOT).parts)]
    events = {e for p in sources for e in re.findall(r'\blog\.\w+\(\s*"(\w+)"', p.read_text())}
    assert len(events) > 15
    assert {event for event in events if f"`{event}`" not in documented} == set()


def test_every_error_has_a_code_of_its_own():
    """Codes are stable words that logs and clients see."""
    documented = (ROOT / "docs" / "errors.md").read_text()
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.BridgeError)]
    codes = [c.code for c in classes]
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if f"`{code}`" not in documented] == []
    for error in classes:
        assert error.__name__ in (errors.__doc__ or "") or issubclass(error, errors.ClientError), error


@pytest.mark.parametrize(
    "path",
    sorted(p for p in ROOT.glob("**/*.md") if not {".venv", "node_modules"} & set(p.parts)),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_links_in_documents_lead_somewhere(path: Path):
    """A relative link names a file that is there."""
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
