"""Small changes to the lines that promises rest on; the tests around them must notice. See scripts/mutation."""
