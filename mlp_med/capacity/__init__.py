"""What a training cell will need before it runs: memory, operations, and which machine has them."""
