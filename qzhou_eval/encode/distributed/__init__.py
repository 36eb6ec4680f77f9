"""One model in each of several Ray actors, behind the same interface as one in this process."""
