-- For one machine only: what the sandbox's Stripe sells. In the cloud an operator enters the prices (docs/OPERATIONS.md).
update public.plans set stripe_price_id = 'price_pro_monthly' where id = 'pro' and stripe_price_id is null;
update public.credit_packs set stripe_price_id = 'price_pack_small' where id = 'small' and stripe_price_id is null;
update public.credit_packs set stripe_price_id = 'price_pack_large' where id = 'large' and stripe_price_id is null;
