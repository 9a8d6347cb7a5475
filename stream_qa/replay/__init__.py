"""Historical logs through the stages: in this process, or through a broker and its workers."""
