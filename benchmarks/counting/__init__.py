"""One stage, a count of events by key that is also their version, in several frameworks: what faults do to each."""
