"""A model bundle: read as it was written, and refused when it is damaged or contradicts itself."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_files import weighted

from stream_qa.bundle import (
    Checks,
    Description,
    GlobalFile,
    LinearFile,
    Manifest,
    OnnxFile,
    PriorsFile,
    ProfileFile,
    RandomEffects,
    Scale,
    SchemaFile,
    Side,
    load_bundle,
    load_random_effects,
    write_bundle,
)
from stream_qa.bundle.profiles import profile_file
from stream_qa.errors import BundleError
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning import FeatureSchema
from stream_qa.learning.profile import SideProfile
from stream_qa.learning.starting import EntityCoefficients

DESCRIPTION = Description(
    until=1_349_049_600_000,
    first_applied_at=1,
    last_applied_at=2,
    applications=3,
    positives=2,
    members=2,
    jobs=1,
    feature_schema=SchemaFile(name="two-and-one", member_features=2, job_features=1),
    policy={"window_days": 14},
    hyper_parameters={"feature_bound": 5.0},
    sweeps=40,
    converged=True,
    curves="silence curves by age alone",
    held_out=None,
)
GLOBAL = LinearFile(
    intercept=0.5,
    member=Side(weights=[1.0, -2.0], means=[0.0, 10.0], scales=[1.0, 2.0]),
    job=Side(weights=[0.25], means=[1.0], scales=[4.0]),
    bound=5.0,
)
ONNX = OnnxFile(
    base_log_odds=-0.75,
    member=Scale(means=[0.0, 10.0], scales=[1.0, 2.0]),
    job=Scale(means=[1.0], scales=[4.0]),
    bound=5.0,
    checks=Checks(member_features=[[3.0, 1.0], [0.0, 0.0]], job_features=[[4.0], [0.0]], log_odds=[2.0, 0.0]),
)
PRIORS = PriorsFile(member=[1.0, 4.0], job=[2.0, 8.0, 16.0])
CURVES = SilenceCurves(ages=(0, 1_000), by_age=(0.0, 1.0))
MEMBER_PROFILE = SideProfile.of(np.array([[0.5, 9.0], [1.5, 11.0], [0.5, 10.0]]), ["experience", "distance"])
JOB_PROFILE = SideProfile.of(np.array([[0.0], [0.0], [4.0]]), ["pay"])
PROFILE = profile_file(MEMBER_PROFILE, JOB_PROFILE)
EFFECTS = RandomEffects(
    members=EntityCoefficients(
        ["m-1", "with a zero\0"], np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([2, 1]), np.array([20, 10])
    ),
    jobs=EntityCoefficients(["j-ä"], np.array([[1.0, 2.0, 3.0]]), np.array([3]), np.array([20])),
)


def write(
    directory: Path,
    *,
    global_file: GlobalFile = GLOBAL,
    onnx: bytes | None = None,
    priors: PriorsFile = PRIORS,
    curves: SilenceCurves | None = CURVES,
    effects: RandomEffects = EFFECTS,
    profile: ProfileFile | None = PROFILE,
) -> Manifest:
    return write_bundle(
        directory,
        description=DESCRIPTION,
        global_file=global_file,
        onnx=onnx,
        priors=priors,
        curves=curves,
        effects=effects,
        profile=profile,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "models" / "bundle"
    write(directory)
    return directory


@pytest.fixture
def onnx_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "models" / "onnx"
    write(directory, global_file=ONNX, onnx=weighted())
    return directory


def change(directory: Path, name: str, edit: Callable[[Any], object]) -> None:
    """Change a JSON file, and the manifest so that it names the changed one."""
    content = json.loads((directory / name).read_text())
    edit(content)
    replace(directory, name, json.dumps(content).encode())


def replace(directory: Path, name: str, content: bytes) -> None:
    """Write another file, and the manifest so that it names this one."""
    (directory / name).write_bytes(content)
    path = directory / "manifest.json"
    if name != path.name:
        manifest = json.loads(path.read_text())
        manifest["files"][name] = {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
        path.write_text(json.dumps(manifest))


def test_what_was_written_is_read(directory: Path) -> None:
    bundle = load_bundle(directory)
    assert bundle.feature_schema == FeatureSchema("two-and-one", 2, 1)
    assert bundle.global_model.score(np.array([[3.0, 14.0]]), np.array([[5.0]])).tolist() == [0.5 + 3 - 4 + 0.25]
    assert bundle.global_model.version == bundle.version == bundle.manifest.version
    assert bundle.member_prior.scale(2).tolist() == [1.0, 0.5]
    assert bundle.job_prior.scale(3) == pytest.approx(1 / np.sqrt([2.0, 8.0, 16.0]))
    assert bundle.curves == CURVES
    assert bundle.manifest.description == DESCRIPTION


def test_the_coefficients_of_entities_are_read_when_they_are_asked_for(directory: Path) -> None:
    effects = load_random_effects(load_bundle(directory))
    for ours, theirs in ((effects.members, EFFECTS.members), (effects.jobs, EFFECTS.jobs)):
        assert ours.ids == theirs.ids
        assert ours.coefficients.tolist() == theirs.coefficients.tolist()
        assert [ours.labels.tolist(), ours.newest_at.tolist()] == [theirs.labels.tolist(), theirs.newest_at.tolist()]


def test_a_global_model_may_be_an_onnx_file(onnx_directory: Path) -> None:
    model = load_bundle(onnx_directory).global_model
    assert model.score(np.array([[3.0, 14.0], [np.nan, 0.0]]), np.array([[5.0], [0.0]])).tolist() == [
        3 - 28 + 1.25,
        -0.75,
    ]
    assert model.member_features.apply(np.array([[3.0, 14.0]])).tolist() == [[3.0, 2.0]]
    assert model.version == load_bundle(onnx_directory).version


def test_an_onnx_file_that_was_changed_or_is_missing_is_refused(onnx_directory: Path) -> None:
    path = onnx_directory / "global.onnx"
    path.write_bytes(weighted(numbers=[1.0, -2.0, 0.5]))
    with pytest.raises(BundleError, match="changed or damaged"):
        load_bundle(onnx_directory)
    path.unlink()
    with pytest.raises(BundleError, match="lacks"):
        load_bundle(onnx_directory)


@pytest.mark.parametrize(
    ("global_file", "onnx", "reason"),
    [
        (ONNX, None, "no global.onnx"),
        (GLOBAL, weighted(), "a global.onnx"),
        (ONNX, weighted(numbers=[1.0, -2.0, 0.5]), "other scores here than when it was trained"),
        (ONNX, weighted(then="Log"), "no finite number for 1 of 2"),
        (ONNX, weighted(then="Open", domain="com.example"), "not in the standard"),
        (ONNX, weighted(shape=("n", 4), numbers=[1, 2, 3, 4]), "shape"),
    ],
)
def test_an_onnx_file_that_is_not_the_bundles_model_is_refused(
    tmp_path: Path, global_file: GlobalFile, onnx: bytes | None, reason: str
) -> None:
    write(tmp_path / "bundle", global_file=global_file, onnx=onnx)
    with pytest.raises(BundleError, match=reason):
        load_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    "edit",
    [
        lambda model: model.update(base_log_odds=float("inf")),
        lambda model: model["member"]["means"].append(0.0),
        lambda model: model["checks"]["log_odds"].pop(),
        lambda model: model["checks"]["job_features"][0].append(1.0),
        lambda model: model.update(checks={"member_features": [], "job_features": [], "log_odds": []}),
    ],
)
def test_what_an_onnx_bundle_says_of_its_model_must_fit_together(
    onnx_directory: Path, edit: Callable[[Any], object]
) -> None:
    change(onnx_directory, "global.json", edit)
    with pytest.raises(BundleError):
        load_bundle(onnx_directory)


def test_without_curves_it_has_none(tmp_path: Path) -> None:
    write(tmp_path / "bundle", curves=None)
    assert load_bundle(tmp_path / "bundle").curves is None


def test_the_version_names_the_day_and_follows_from_the_content(tmp_path: Path) -> None:
    versions = [
        write(tmp_path / "one").version,
        write(tmp_path / "again").version,
        write(tmp_path / "other", global_file=GLOBAL.model_copy(update={"intercept": 0.25})).version,
    ]
    assert versions[0].startswith("2012-10-01-")
    assert versions[0] == versions[1] != versions[2]
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_directory_that_exists_is_not_written_into(directory: Path) -> None:
    with pytest.raises(BundleError):
        write(directory)


FILES = ["manifest.json", "global.json", "priors.json", "curves.json", "random_effects.npz"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(directory)


@pytest.mark.parametrize("name", FILES[1:])
@settings(max_examples=20)
@given(data=st.data())
def test_a_changed_byte_is_refused(tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("models") / "bundle"
    write(directory)
    content = bytearray((directory / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (directory / name).write_bytes(content)
    with pytest.raises(BundleError, match="changed or damaged"):
        load_bundle(directory)


def test_a_manifest_that_is_not_the_one_that_was_meant_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "bundle")
    digest = sha256((tmp_path / "bundle" / "manifest.json").read_bytes()).hexdigest()
    assert load_bundle(tmp_path / "bundle", digest).version == load_bundle(tmp_path / "bundle").version
    with pytest.raises(BundleError, match="not the one that was published"):
        load_bundle(tmp_path / "bundle", "0" * 64)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("manifest.json", lambda manifest: manifest.update(format=2)),
        ("manifest.json", lambda manifest: manifest["files"].pop("priors.json")),
        (
            "manifest.json",
            lambda manifest: manifest["files"].update({"../up.json": manifest["files"]["global.json"]}),
        ),
        ("global.json", lambda model: model.update(kind="pickle")),
        ("global.json", lambda model: model.update(intercept=float("nan"))),
        ("global.json", lambda model: model.update(bound=0)),
        ("global.json", lambda model: model.update(bound=1e200)),
        ("global.json", lambda model: model["member"]["weights"].append(1.0)),
        ("global.json", lambda model: model["member"]["scales"].__setitem__(0, 0.0)),
        ("global.json", lambda model: model.update(job={"weights": [], "means": [], "scales": []})),
        ("priors.json", lambda priors: priors["member"].append(1.0)),
        ("priors.json", lambda priors: priors["job"].pop()),
        ("priors.json", lambda priors: priors["job"].__setitem__(0, float("inf"))),
        ("priors.json", lambda priors: priors["job"].__setitem__(0, -1.0)),
        ("priors.json", lambda priors: priors["member"].__setitem__(0, 1e-308)),
        ("priors.json", lambda priors: priors["member"].__setitem__(1, 1e7)),
        ("priors.json", lambda priors: priors.update(company=[1.0])),
        ("curves.json", lambda curves: curves.update(by_age=[0.5, 0.25])),
    ],
)
def test_what_contradicts_itself_is_refused(directory: Path, name: str, edit: Callable[[Any], object]) -> None:
    change(directory, name, edit)
    with pytest.raises(BundleError):
        load_bundle(directory)


def test_text_that_is_no_json_is_refused(directory: Path) -> None:
    (directory / "manifest.json").write_text("{")
    with pytest.raises(BundleError):
        load_bundle(directory)


@pytest.mark.parametrize(
    "jobs",
    [
        EntityCoefficients(["j-1"], np.array([[1.0, 2.0]]), np.array([3]), np.array([20])),
        EntityCoefficients(["j-1", "j-2"], np.array([[1.0, 2.0, 3.0]]), np.array([3]), np.array([20])),
        EntityCoefficients(["j-1"], np.array([[1.0, 2.0, np.nan]]), np.array([3]), np.array([20])),
        EntityCoefficients(["j-1"], np.array([[1, 2, 3]]), np.array([3]), np.array([20])),
        EntityCoefficients(["j-1"], np.array([[1.0, 2.0, 3.0]]), np.array([3, 4]), np.array([20])),
        EntityCoefficients(["j-1"], np.array([[1.0, 2.0, object()]]), np.array([3]), np.array([20])),
        EntityCoefficients([""], np.ones((1, 3)), np.array([3]), np.array([20])),
        EntityCoefficients(["ä" * 129], np.ones((1, 3)), np.array([3]), np.array([20])),
        EntityCoefficients([1], np.ones((1, 3)), np.array([3]), np.array([20])),  # type: ignore[list-item]
        EntityCoefficients(["j-1", "j-1"], np.ones((2, 3)), np.array([3, 3]), np.array([20, 20])),
        EntityCoefficients(["j-1"], np.ones((1, 3)), np.array([-1]), np.array([20])),
        EntityCoefficients(["j-1"], np.ones((1, 3)), np.array([2**60]), np.array([20])),
        EntityCoefficients(["j-1"], np.ones((1, 3)), np.array([3]), np.array([-1])),
        EntityCoefficients(["j-1"], np.ones((1, 3)), np.array([3]), np.array([2**60])),
    ],
)
def test_coefficients_that_are_not_those_of_the_features_are_refused(directory: Path, jobs: EntityCoefficients) -> None:
    arrays = dict(np.load(directory / "random_effects.npz"))
    arrays |= {"job_coefficients": jobs.coefficients, "job_labels": jobs.labels, "job_newest_at": jobs.newest_at}
    arrays["job_ids"] = np.frombuffer(json.dumps(jobs.ids).encode(), np.uint8)
    file = BytesIO()
    np.savez(file, **arrays)
    replace(directory, "random_effects.npz", file.getvalue())
    with pytest.raises(BundleError, match="cannot be read"):
        load_random_effects(load_bundle(directory))


def test_an_empty_file_of_coefficients_is_refused(directory: Path) -> None:
    replace(directory, "random_effects.npz", b"")
    with pytest.raises(BundleError, match="cannot be read"):
        load_random_effects(load_bundle(directory))


def test_coefficients_that_were_changed_after_the_bundle_was_read_are_refused(directory: Path) -> None:
    bundle = load_bundle(directory)
    jobs = EntityCoefficients(["j-ä"], np.array([[1.0, 2.0, 3.0]]), np.array([4]), np.array([20]))
    write(directory.with_name("other"), effects=RandomEffects(EFFECTS.members, jobs))
    shutil.copy(directory.with_name("other") / "random_effects.npz", directory)
    with pytest.raises(BundleError, match="changed or damaged"):
        load_random_effects(bundle)


def test_it_says_what_the_training_s_data_looked_like(directory: Path) -> None:
    profile = load_bundle(directory).profile
    assert profile is not None
    for side, written in ((profile.member, MEMBER_PROFILE), (profile.job, JOB_PROFILE)):
        assert side.names == written.names
        for ours, theirs in zip((side.least, side.most, side.edges, side.up_to), _numbers(written), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert profile.positive_share == 2 / 3
    assert (profile.ages.tolist(), profile.answered.tolist()) == ([0, 1_000], [0.0, 1.0])


def _numbers(side: SideProfile) -> tuple[np.ndarray, ...]:
    return side.least, side.most, side.edges, side.up_to


def test_without_it_or_without_curves_it_is_read_too(tmp_path: Path) -> None:
    write(tmp_path / "old", profile=None)
    assert load_bundle(tmp_path / "old").profile is None
    write(tmp_path / "few", curves=None)
    profile = load_bundle(tmp_path / "few").profile
    assert profile is not None
    assert len(profile.ages) == 0


def test_a_profile_of_other_features_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "bundle", profile=profile_file(JOB_PROFILE, JOB_PROFILE))
    with pytest.raises(BundleError, match="has 1 profiles of member features, where its features ask for 2"):
        load_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", "distance", "two features have one name"),
        ("least", 99.0, "out of order"),
        ("at_most", [0.5], "not equally many"),
        ("below", [0.9] * 8 + [0.1], "out of order"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(directory: Path, field: str, value: object, reason: str) -> None:
    change(directory, "profile.json", lambda content: content["member"][0].update({field: value}))
    with pytest.raises(BundleError, match=reason):
        load_bundle(directory)
