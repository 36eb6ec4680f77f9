"""What is run: suites and tasks as data, and the instructions that go with them."""
