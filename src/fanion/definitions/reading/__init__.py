"""From files to checked documents: what is read, how a defect is reported, and every bound on it."""
