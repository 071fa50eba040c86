"""What passes between the stages: files with a schema, so that each stage can run alone, elsewhere, later."""
