"""From a built dataset to global batches: read, order, augment, upsample, deal out to replicas."""
