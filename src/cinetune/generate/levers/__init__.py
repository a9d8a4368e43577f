"""What makes generation faster or smaller: one file a lever. `_contract.py` says what one provides."""
