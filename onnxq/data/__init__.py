"""Behind ``onnxq.samples``: where data lies, how it is read a little at a time, checked, and cut into batches."""
