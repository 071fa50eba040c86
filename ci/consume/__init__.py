"""What consumers do with a release: fetch its image, verified, and verify all it promises.

What the tool for consumers needs runs on Python 3.10 too: all here but `bundle`, which makes the tool, and `verify`.
"""
