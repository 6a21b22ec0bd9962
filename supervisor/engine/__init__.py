"""The seam between jobs and machines: values and protocols, no behaviour. It imports nothing of ours."""
