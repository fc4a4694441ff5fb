"""A person who applies a plan and stops at a point: ``faults_hand.py <plan id> <point> <call>``."""

import sys
from uuid import UUID

import faults_points

import helpers.batch

if __name__ == "__main__":
    plan_id, point, call = sys.argv[1:]
    plan = eval(call, vars(helpers.batch))
    plan.plan_id = UUID(plan_id)  # the test holds the same plan, and applies it again
    faults_points.stop_at(point)
    plan.apply(reason="cut off")
