"""What runs inside a worker process: the loop, the loader, the toolbox, the queue proxies.

Imports here are start-up time, times the number of workers: nothing but what every worker needs.
"""
