"""The machine as clients of SIE see one: a cluster of one worker."""
