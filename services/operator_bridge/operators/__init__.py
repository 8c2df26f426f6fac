"""The adapters: one module per operator, found by its name. Nothing imports one."""
