"""One file for each fault: what clients have afterwards is what they see, and they were sent it once."""
