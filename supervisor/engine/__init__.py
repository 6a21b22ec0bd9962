"""The interface between jobs and the machines that run them: values and protocols, without behaviour.

It imports nothing else of this project.
"""
