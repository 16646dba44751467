import { Goal } from "../gen-sign-up/haven/identity/v1/account_pb";

/** The goals in the order of the contract, in the words of the form. */
export const goals: { value: Goal; label: string }[] = [
  { value: Goal.BUILD_CONFIDENCE, label: "Build self-confidence" },
  { value: Goal.MAKE_FRIENDS, label: "Make friends" },
  { value: Goal.IMPROVE_CONVERSATIONS, label: "Improve conversations with others" },
  { value: Goal.OVERCOME_ANXIETY, label: "Overcome social anxiety" },
  { value: Goal.JOIN_ACTIVITIES, label: "Join activities" },
  { value: Goal.DATING_SKILLS, label: "Improve dating skills" },
  { value: Goal.ROOMMATE_RELATIONS, label: "Improve relations with roommates" },
];
