"""From batches to a trained cell: devices, threads, precision, the step loop, memory."""
