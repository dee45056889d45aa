"""The console: pages for operators and managers, made with Streamlit."""
