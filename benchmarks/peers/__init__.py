"""One pipeline, label to member to job to deltas, in several frameworks and without one: README.md says which."""
