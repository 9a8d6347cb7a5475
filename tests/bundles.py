"""Bundles made of another one, with what a test is about changed: a training takes seconds."""

from pathlib import Path

from stream_qa.bundle import Bundle, LinearFile, PriorsFile, load_bundle, load_random_effects, write_bundle


def retrained(bundle: Bundle, directory: Path, *, precision: float = 1.0, bound: float | None = None) -> Bundle:
    """Write a bundle that differs from ``bundle``, of a linear model, as a later training does, and read it.

    Parameters
    ----------
    bundle
        The one before.
    directory
        Where to write it.
    precision
        By how much all precisions of the priors are multiplied.
    bound
        Where standardised features are clipped; by default as before.
    """
    priors = PriorsFile.model_validate_json((bundle.directory / "priors.json").read_bytes())
    scores = LinearFile.model_validate_json((bundle.directory / "global.json").read_bytes())
    description = bundle.manifest.description
    write_bundle(
        directory,
        description=description.model_copy(update={"until": description.until + 1}),
        global_file=scores if bound is None else scores.model_copy(update={"bound": bound}),
        priors=PriorsFile(
            member=[precision * before for before in priors.member], job=[precision * before for before in priors.job]
        ),
        curves=bundle.curves,
        effects=load_random_effects(bundle),
    )
    return load_bundle(directory)
