"""Faust and Kafka: what carries chunks to the stages and back, and nothing that decides."""
