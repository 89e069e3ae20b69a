"""What time it is, for what can't be undone: `belief` judges the wall clock, `keeper` remembers the judgement."""
