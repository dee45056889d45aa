"""Who calls the API: keys, what each caller may see and do, and answers that are given twice."""
