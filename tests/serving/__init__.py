"""Tests of the services, in process and over real HTTP."""
