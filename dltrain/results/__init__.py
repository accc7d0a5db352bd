"""Many runs side by side: what is known of each, tables of them, what differs between some, and which to remove.

Nothing here imports PyTorch: thousands of runs are looked at in less time than that takes.
"""
