"""Images: from their files to uint8 tensors, and augmentation."""
