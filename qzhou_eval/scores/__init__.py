"""Result files to numbers: reading, aggregating."""
