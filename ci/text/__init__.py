"""Text that people read: Markdown, tables, figures."""
